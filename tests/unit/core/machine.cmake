unit_test(core/reactor LINKS floe_core)
