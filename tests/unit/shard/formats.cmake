unit_test(shard/batch LINKS floe_shard z zstd)
unit_test(shard/codec LINKS floe_shard lz4 snappy z zstd)
unit_test(shard/directory LINKS floe_shard)
unit_test(shard/formats LINKS floe_shard)
unit_test(shard/golden LINKS floe_shard)
target_compile_definitions(shard_golden_test PRIVATE
  GOLDEN_DIRECTORY="${CMAKE_CURRENT_LIST_DIR}/golden")
unit_test(shard/producer LINKS floe_shard)
unit_test(shard/request LINKS floe_shard)
