#!/bin/sh
# Fuzzes every decoder for so many seconds each. usage: tests/fuzz/run.sh SECONDS
set -eu
cd "$(dirname "$0")/../.."
seconds=$1
out=build/fuzz
mkdir -p "$out"
flags="-std=gnu11 -g -O1 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -Iecs -Ihost"
for target in json schema value; do
    # shellcheck disable=SC2086
    clang-14 $flags "tests/fuzz/fuzz_$target.c" ecs/*.c -lpthread -lm -o "$out/$target"
    mkdir -p "$out/corpus-$target"
    cp tests/fuzz/seeds/"$target"/* "$out/corpus-$target/"
done
cp examples/*/scene.json "$out/corpus-json/"
for target in json schema value; do
    echo "== $target, $seconds s"
    "$out/$target" -max_total_time="$seconds" -max_len=4096 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="$out/$target-" "$out/corpus-$target" 2>&1 | grep -E "stat::number_of_executed|ERROR|SUMMARY" || true
    if ls "$out/$target"-crash-* "$out/$target"-oom-* "$out/$target"-timeout-* >/dev/null 2>&1; then
        echo "$target failed: see $out/$target-*"
        exit 1
    fi
done
# the Modbus decoders are Lua: their specs feed them random bytes
./dev test tests/lua/modbus_codec_spec.lua
