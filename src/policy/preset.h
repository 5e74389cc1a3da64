/* policy/preset.h - what each XSIGMA_PRESET sets.
 * A preset only fills in what neither file nor environment sets. Context: before main.
 */
#ifndef XS_POLICY_PRESET_H
#define XS_POLICY_PRESET_H

#include "policy/config.h"

struct xs_preset_setting {
    enum xs_knob knob;
    char value[24];
};

/* The settings of a preset by its name in the table; *count becomes their number. */
const struct xs_preset_setting *xs_preset_settings(const char *name, size_t *count);

#endif
