/* Names and sentences of the errors, from the one table. */
#include "core/err.h"

const char *err_name(enum err err)
{
    switch (err) {
    case OK:
        return "OK";
#define X(name, code, text)                                                                        \
    case name:                                                                                     \
        return #name;
        ERR_TABLE(X)
#undef X
    }
    return "ERR_?";
}

const char *err_text(enum err err)
{
    switch (err) {
    case OK:
        return "no error";
#define X(name, code, text)                                                                        \
    case name:                                                                                     \
        return text;
        ERR_TABLE(X)
#undef X
    }
    return "unknown error";
}

#define X(name, code, text)                                                                        \
    _Static_assert((code) < 0 && (code) > -128, "an err fits into a signed byte");
ERR_TABLE(X)
#undef X
