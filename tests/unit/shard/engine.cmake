# The engine's tests share a shard on a directory of its own.
set(SHARD_ENGINE_FIXTURE ${CMAKE_SOURCE_DIR}/tests/unit/shard/engine_fixture.c)
unit_test(shard/append SOURCES ${SHARD_ENGINE_FIXTURE} LINKS floe_shard)
unit_test(shard/fetch SOURCES ${SHARD_ENGINE_FIXTURE} LINKS floe_shard)
unit_test(shard/recovery SOURCES ${SHARD_ENGINE_FIXTURE} LINKS floe_shard)
unit_test(shard/retention SOURCES ${SHARD_ENGINE_FIXTURE} LINKS floe_shard)
unit_test(shard/trim SOURCES ${SHARD_ENGINE_FIXTURE} LINKS floe_shard)
unit_test(shard/shard SOURCES ${SHARD_ENGINE_FIXTURE} LINKS floe_shard)
unit_test(shard/survey SOURCES ${SHARD_ENGINE_FIXTURE} LINKS floe_shard)
