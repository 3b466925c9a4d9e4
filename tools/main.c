/* floe: one binary, the server and its command line. */
#include "tools/cmd.h"

int main(int argc, char **argv)
{
    return cmd_main(argc - 1, argv + 1);
}
