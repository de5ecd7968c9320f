#!/bin/sh
# Fuzzes every decoder, and the core, for so many seconds each. usage: tests/fuzz/run.sh SECONDS
set -eu
cd "$(dirname "$0")/../.."
seconds=$1
out=build/fuzz
mkdir -p "$out"
flags="-std=gnu11 -g -O1 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -Iecs -Ihost"
for target in json schema value snapshot; do
    # shellcheck disable=SC2086
    clang-14 $flags "tests/fuzz/fuzz_$target.c" ecs/*.c -lpthread -lm -o "$out/$target"
    mkdir -p "$out/corpus-$target"
    if [ -d "tests/fuzz/seeds/$target" ]; then cp "tests/fuzz/seeds/$target"/* "$out/corpus-$target/"; fi
done
cp examples/*/scene.json "$out/corpus-json/"
clang-14 -std=gnu11 -D_GNU_SOURCE -DFUZZ_SEED -Iecs tests/fuzz/fuzz_snapshot.c ecs/*.c -lpthread -lm \
    -o "$out/snapshot-seed"
"$out/snapshot-seed" >"$out/corpus-snapshot/seed"
for target in json schema value snapshot; do
    echo "== $target, $seconds s"
    "$out/$target" -max_total_time="$seconds" -max_len=4096 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="$out/$target-" "$out/corpus-$target" 2>&1 | grep -E "stat::number_of_executed|ERROR|SUMMARY" || true
    if ls "$out/$target"-crash-* "$out/$target"-oom-* "$out/$target"-timeout-* >/dev/null 2>&1; then
        echo "$target failed: see $out/$target-*"
        exit 1
    fi
done
# the core beside its model, histories of random seeds
clang-14 -std=gnu11 -g -O1 -D_GNU_SOURCE -fsanitize=address,undefined -Iecs tests/ecs/test_model.c tests/ecs/operations*.c \
    tests/ecs/misuse.c tests/ecs/session.c tests/ecs/model*.c ecs/*.c -lpthread -lm -o "$out/model"
echo "== model, $seconds s"
"$out/model" --seconds "$seconds" >"$out/model.log" 2>&1 || { tail -n 60 "$out/model.log"; exit 1; }
tail -n 1 "$out/model.log"
# the Modbus decoders are Lua: their specs feed them random bytes
./dev test tests/lua/modbus_codec_spec.lua
# random trees of scopes in the async runtime, in both builds
echo "== soak, $seconds s"
STATOR_SOAK_SECONDS=$seconds ./dev test tests/lua/soak_spec.lua
