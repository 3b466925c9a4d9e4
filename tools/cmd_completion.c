/* floe completion: the script that makes a shell ask floe __complete; see cmd_complete.c. */
#include "core/assert.h"
#include "tools/errors.h"

#include <stdio.h>
#include <string.h>

static const char completion_bash[] =
    "# Completion of floe for bash, as \"floe completion bash\" prints it.\n"
    "# For this shell: source <(floe completion bash). For all of them: write it to\n"
    "# ~/.local/share/bash-completion/completions/floe\n"
    "_floe() {\n"
    "    local line=${COMP_LINE:0:COMP_POINT} words cur left candidate sentence\n"
    "    read -ra words <<<\"$line\"\n"
    "    [[ $line == *[[:space:]] ]] && words+=(\"\")\n"
    "    cur=${words[${#words[@]} - 1]}\n"
    "    left=${cur%\"${cur##*[=:]}\"} # Bash takes what stands behind it for the word.\n"
    "    COMPREPLY=()\n"
    "    while IFS=$'\\t' read -r candidate sentence; do\n"
    "        case $candidate in\n"
    "        :nospace) compopt -o nospace 2>/dev/null ;;\n"
    "        :files)\n"
    "            compopt -o filenames 2>/dev/null\n"
    "            mapfile -t COMPREPLY < <(compgen -f -- \"${cur#\"$left\"}\")\n"
    "            ;;\n"
    "        :directories)\n"
    "            compopt -o filenames 2>/dev/null\n"
    "            mapfile -t COMPREPLY < <(compgen -d -- \"${cur#\"$left\"}\")\n"
    "            ;;\n"
    "        *) COMPREPLY+=(\"${candidate#\"$left\"}\") ;;\n"
    "        esac\n"
    "    done < <(\"$1\" __complete \"${words[@]:1}\" 2>/dev/null)\n"
    "}\n"
    "complete -F _floe floe\n";

static const char completion_zsh[] =
    "#compdef floe\n"
    "# Completion of floe for zsh, as \"floe completion zsh\" prints it.\n"
    "# For this shell: source <(floe completion zsh). For all of them: write it to a file _floe "
    "in\n"
    "# a directory of $fpath.\n"
    "_floe() {\n"
    "    local -a lines candidates suffix\n"
    "    local line\n"
    "    lines=(\"${(@f)$(\"${words[1]}\" __complete \"${(@)words[2,CURRENT]}\" 2>/dev/null)}\")\n"
    "    for line in $lines; do\n"
    "        case $line in\n"
    "        :nospace) suffix=(-S '') ;;\n"
    "        :files) _files; return ;;\n"
    "        :directories) _files -/; return ;;\n"
    "        *) candidates+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\") ;;\n"
    "        esac\n"
    "    done\n"
    "    _describe floe candidates \"${(@)suffix}\"\n"
    "}\n"
    "if [[ ${funcstack[1]} == _floe ]]; then\n"
    "    _floe \"$@\"\n"
    "else\n"
    "    compdef _floe floe\n"
    "fi\n";

static const char completion_fish[] =
    "# Completion of floe for fish, as \"floe completion fish\" prints it.\n"
    "# For this shell: floe completion fish | source. For all of them: write it to\n"
    "# ~/.config/fish/completions/floe.fish\n"
    "function __floe_complete\n"
    "    set -l words (commandline -opc)\n"
    "    set -l current (commandline -ct)\n"
    "    for line in ($words[1] __complete $words[2..-1] \"$current\" 2>/dev/null)\n"
    "        switch $line\n"
    "            case ':nospace*'\n"
    "                continue\n"
    "            case ':files*'\n"
    "                __fish_complete_path \"$current\"\n"
    "            case ':directories*'\n"
    "                __fish_complete_directories \"$current\"\n"
    "            case '*'\n"
    "                echo $line\n"
    "        end\n"
    "    end\n"
    "end\n"
    "complete -c floe -f -a '(__floe_complete)'\n";

int cmd_completion(const struct cmd *cmd)
{
    static const struct {
        const char *shell, *script;
    } scripts[] = {{"bash", completion_bash}, {"zsh", completion_zsh}, {"fish", completion_fish}};

    for (uint32_t i = 0; i < ARRAY_COUNT(scripts); i++) {
        if (strcmp(cmd->operands[0], scripts[i].shell) == 0) {
            fputs(scripts[i].script, stdout);
            return fflush(stdout) == 0
                       ? CMD_OK
                       : cmd_fail(cmd, ERROR_OUTPUT, "standard output took not everything");
        }
    }
    return cmd_fail(cmd, ERROR_OPERAND, "%s: give bash, zsh or fish", cmd->operands[0]);
}
