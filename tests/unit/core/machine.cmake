unit_test(core/reactor LINKS floe_core)
unit_test(core/reactor_idle LINKS floe_core)
unit_test(core/io LINKS floe_core)
unit_test(core/os LINKS floe_core)
