/* floe doctor: looks at all that usually stands in the way of a server or of its clients, and says
 * of each thing what it found and what to do. Changes nothing.
 *
 *     settings -> machine -> disk -> network        a row each; 1 if one of them fails
 */
#include "tools/cmd_client.h"
#include "tools/doctor.h"
#include "tools/errors.h"

#include <stdarg.h>
#include <stdio.h>

void doctor_say(struct doctor *doctor, const char *check, enum doctor_result result,
                const char *remedy, const char *found, ...)
{
    static const char *const results[DOCTOR_RESULTS] = {"ok", "warn", "fail"};
    char text[2 * DOCTOR_TEXT_BYTES];
    va_list arguments;
    va_start(arguments, found);
    (void)vsnprintf(text, sizeof(text), found, arguments);
    va_end(arguments);
    doctor->counts[result]++;
    cmd_rows_text(&doctor->rows, check);
    cmd_rows_text(&doctor->rows, results[result]);
    cmd_rows_text(&doctor->rows, text);
    cmd_rows_text(&doctor->rows, remedy);
}

/* The settings are read in silence; what is wrong with them is a row as others. */
static void doctor_check_settings(struct doctor *doctor)
{
    char said[DOCTOR_TEXT_BYTES] = "";
    struct cmd quiet = *doctor->cmd;
    quiet.said = said;
    quiet.said_size = sizeof(said);
    int code = settings_read(&doctor->settings, &quiet);
    code = code == CMD_OK ? settings_judge(&doctor->settings, &quiet) : code;
    doctor->planned = code == CMD_OK;
    if (code != CMD_OK) {
        doctor_say(
            doctor, "settings", DOCTOR_FAIL,
            "floe explain tells more of the code; the checks below are of what could be read", "%s",
            said);
        return;
    }
    uint32_t given = 0;
    const struct config *config = doctor->settings.config;
    for (uint32_t i = 0; i < config_count(config); i++) {
        given += config_source(config, config_option(config, i)->key) != CONFIG_FROM_DEFAULT;
    }
    doctor_say(doctor, "settings", DOCTOR_OK, NULL, "%u given, %u at their defaults", given,
               config_count(config) - given);
}

int cmd_doctor(const struct cmd *cmd)
{
    static const char *const columns[] = {"check", "result", "found", "remedy"};
    struct doctor doctor = {.cmd = cmd};
    const char *broker = cmd_value(cmd, "--broker");
    if (broker != NULL && client_check_brokers(cmd, broker) != CMD_OK) {
        return CMD_USAGE;
    }
    cmd_rows_begin(&doctor.rows, cmd, columns, ARRAY_COUNT(columns));
    doctor_check_settings(&doctor);
    if (doctor.settings.config != NULL) {
        doctor_check_machine(&doctor);
        doctor_check_disk(&doctor);
        doctor_check_network(&doctor);
    }
    int code = cmd_rows_end(&doctor.rows, cmd);
    settings_close(&doctor.settings);
    uint32_t failed = doctor.counts[DOCTOR_FAIL];
    if (code == CMD_OK && failed > 0) {
        code = cmd_fail(cmd, ERROR_DOCTOR, "%u of %u checks failed", failed,
                        failed + doctor.counts[DOCTOR_OK] + doctor.counts[DOCTOR_WARN]);
    }
    return code;
}
