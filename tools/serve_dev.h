/* What floe serve --dev has of its own: a directory that goes away, and what to try. */
#pragma once

#include "core/base.h"

/* Makes an empty directory below $TMPDIR or /tmp; false: errno says why, `dir` which. */
NODISCARD bool serve_dev_make_directory(char *dir, size_t size);

/* That directory with all that is in it. */
void serve_dev_remove_directory(const char *dir);

/* On standard error, ready to be copied. */
void serve_dev_say_first_steps(uint16_t port);
