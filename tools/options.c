/* The table of settings, spelled out once for whoever walks it. */
#include "tools/options.h"

const struct config_option options_table[] = {
#define X(key_, type_, fallback_, min_, max_, choices_, sentence_)                                 \
    {.key = (key_),                                                                                \
     .type = (type_),                                                                              \
     .fallback = (fallback_),                                                                      \
     .min = (int64_t)(min_),                                                                       \
     .max = (int64_t)(max_),                                                                       \
     .choices = (choices_),                                                                        \
     .sentence = (sentence_)},
    OPTIONS_TABLE(X)
#undef X
};

const uint32_t options_count = ARRAY_COUNT(options_table);
