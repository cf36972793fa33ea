#!/usr/bin/env bash
# Builds the core with its tests under sanitizers, and runs them: cell.h as C99 and C++17, addresses and undefined behaviour, threads.
# Then compiles the kernels for NEON where a cross compiler is there. CC, CXX: the compilers. Needs no Python.
set -euo pipefail
cd "$(dirname "$0")/.."
CC=${CC:-gcc} CXX=${CXX:-g++}
if ! command -v "$CXX" >/dev/null || ! command -v "$CC" >/dev/null; then
  echo "no compiler: expected $CC and $CXX, got none; the core's own tests are left out (Debian, Ubuntu: apt install g++)"
  exit 0
fi
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
strict=(-ffp-contract=off -fno-math-errno -fno-trapping-math -Wall -Wextra -Werror)

"$CC" -std=c99 -O2 "${strict[@]}" -pedantic tests/cell_c99.c -lm -o "$place/c99" && "$place/c99"
"$CXX" -x c++ -std=c++17 -O2 "${strict[@]}" tests/cell_c99.c -lm -o "$place/cxx17" && "$place/cxx17"

# GCC 12 warns of intrinsics that start from undefined registers (its bug 105593).
case $(uname -m) in
  x86_64) builds=("sse2" "avx2 -mavx2 -mfma" "avx512 -mavx512f -mavx512dq -mavx512vl -mavx512bw -mfma -Wno-uninitialized -Wno-maybe-uninitialized") ;;
  aarch64) builds=("neon") ;;
  *) builds=("generic") ;;
esac

# $1: the sanitizers. $2: rounds of random cases for each instruction set.
build_and_run() {
  local objects=() have=() pids=() flags=(-std=c++17 -O1 -g "-fsanitize=$1" -fno-sanitize-recover=all -fno-omit-frame-pointer "${strict[@]}")
  for build in "${builds[@]}"; do
    read -ra words <<<"$build"
    have+=("-DTG_HAVE_${words[0]^^}")
    "$CXX" "${flags[@]}" "${words[@]:1}" "-DTG_ISA_NAME=${words[0]}" -c kernels.cpp -o "$place/${words[0]}.o" &
    pids+=($!)
    objects+=("$place/${words[0]}.o")
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
  "$CXX" "${flags[@]}" "${have[@]}" dispatch.cpp plan.cpp pool.cpp tests/test_core.cpp "${objects[@]}" -lpthread -o "$place/test"
  echo "-fsanitize=$1:"
  "$place/test" "$2"
}
build_and_run address,undefined "${1:-60}"
build_and_run thread "${1:-20}"

cross=${NEON_CXX:-aarch64-linux-gnu-g++}
if command -v "$cross" >/dev/null; then
  "$cross" -std=c++17 -O2 "${strict[@]}" -DTG_ISA_NAME=neon -c kernels.cpp -o "$place/neon.o"
  echo "kernels.cpp compiles for NEON"
else
  echo "NEON was not compiled: expected $cross, got none (Debian, Ubuntu: apt install g++-aarch64-linux-gnu)"
fi
