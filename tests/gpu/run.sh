#!/bin/bash
# Runs all tests and measurements that need a GPU. Each step is a process with its own time limit; a step that fails or
# hangs does not stop the others. docs/gpu.md describes the steps and how to read the report.
#   bash tests/gpu/run.sh                            all steps, at most 535 s; the report is $OUT/gpu.md
#   STEPS="tests bench" bash tests/gpu/run.sh        only these steps
#   SMOKE=1 bash tests/gpu/run.sh                    tiny sizes on a CPU: checks that the steps work, measures nothing
# OUT: output folder (build/gpu)       BUDGET: seconds for all steps (535)    PACE: multiplies the steps' time limits (1)
# PYTHON: interpreter (python3)        COMMIT: commit to report where there is no .git
# JOBS: steps that run at the same time (1, so that times are valid; 2 in a smoke run)
# Uses the installed Longtake, or else this checkout with the packages in .gpu/site.txz (written by tests/gpu/pack).
set -u
cd "$(dirname "$0")/../.." || exit 2
SECONDS=0 HERE=$PWD
export OUT=${OUT:-build/gpu} PYTHON=${PYTHON:-python3} SMOKE=${SMOKE:-}
BUDGET=${BUDGET:-535} PACE=${PACE:-1} JOBS=${JOBS:-${SMOKE:+2}}
# Each step and its time limit in seconds, goals first, then tests; steps at the end are skipped when the budget is spent.
LIMITS="machine:60 kernels:75 blocks:120 bench:120 bench-compiled:140 long:90 tests:150 vae:90 host:40 embedder:50 vbench:90 fp8:90"
KNOWN=$(for one in $LIMITS; do echo "${one%:*}"; done)
STEPS=${STEPS:-$KNOWN}
[ "${STEPS#*machine}" != "$STEPS" ] || STEPS="machine $STEPS" # every report names its machine
export COMMAND="${SMOKE:+SMOKE=$SMOKE }STEPS=\"$(echo $STEPS)\" tests/gpu/run.sh"
[ "$STEPS" = "$KNOWN" ] && COMMAND="${SMOKE:+SMOKE=$SMOKE }tests/gpu/run.sh"

fail() { echo "gpu: $*" >&2; exit 2; }

for step in $STEPS; do
  grep -qx -- "$step" <<< "$KNOWN" || fail "STEPS: no step $step; there are" $KNOWN
done
[ -z "$SMOKE" ] || export CUDA_VISIBLE_DEVICES=
torch=$("$PYTHON" -c 'import torch; print(torch.__version__, torch.cuda.is_available())' 2> /dev/null) ||
  fail "$PYTHON has no torch; name another: PYTHON=/path/to/python tests/gpu/run.sh"
[ -n "$SMOKE" ] || [ "${torch#* }" = True ] ||
  fail "no CUDA device for torch ${torch% *}; run it on a machine with one (docs/gpu.md), or try the steps on this CPU: SMOKE=1 make gpu"

mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd) || fail "OUT: $OUT cannot be written"
work=$(mktemp -d) || fail "no temporary folder; set TMPDIR"
trap 'kill $(jobs -p) 2> /dev/null; rm -rf "$work"' EXIT
free=$(df -Pm "$work" | awk 'NR == 2 { print $4 }')
[ "${free:-0}" -ge 3000 ] || echo "gpu: only $free MB free in $work; videos and compiled kernels need about 3000 (set TMPDIR)"
export ROWS=$work/rows TMPDIR=$work
mkdir -p "$ROWS"
rm -f "$OUT"/gpu.md "$OUT"/rows.jsonl "$OUT"/logs.txt "$OUT"/bench.csv "$OUT"/bench-compiled.csv

# One thread per step, as in Longtake; the steps share compiled kernels; the user's caches and weights are not touched.
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1 COLUMNS=110 NO_COLOR=1
export TORCHINDUCTOR_CACHE_DIR=$work/inductor TRITON_CACHE_DIR=$work/triton
unset PYTEST_ADDOPTS # options of an outer pytest do not apply to these tests
export LONGTAKE_WEIGHTS=$work/no-weights HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false

# Links the package as pyproject.toml maps it; platform/ itself has no __init__.py.
link_checkout() {
  local site=$work/site name path
  mkdir -p "$site/longtake/platform" "$site/longtake-0.1.0.dist-info"
  if [ -f .gpu/site.txz ]; then
    tar xJf .gpu/site.txz -C "$site" 2> /dev/null || "$PYTHON" -m tarfile -e .gpu/site.txz "$site" > /dev/null ||
      fail ".gpu/site.txz cannot be unpacked; make it again with tests/gpu/pack"
  fi
  for name in trainers evaluators jobs dashboards; do ln -s "$HERE/$name" "$site/longtake/$name"; done
  for path in platform/*; do ln -s "$HERE/$path" "$site/longtake/platform/"; done
  printf 'Metadata-Version: 2.1\nName: longtake\nVersion: 0.1.0\n' > "$site/longtake-0.1.0.dist-info/METADATA"
  export PYTHONPATH=$site:$HERE
}
"$PYTHON" -c 'import longtake.jobs.bench' 2> /dev/null || link_checkout
missing=$("$PYTHON" - << 'END'
from importlib.util import find_spec
needed = "av diffusers omegaconf transformers open_clip timm vbench pyiqa deepspeed pytest psutil typer rich cv2"
print(*[name for name in needed.split() if find_spec(name) is None])
END
)
[ -z "$missing" ] || echo "gpu: not installed: $missing. On a machine with network run tests/gpu/pack, or install longtake"

run_step() { # name, time limit, command: runs within the limit and the remaining budget
  local name=$1 most=$(($2 * PACE)) left=$((BUDGET - SECONDS)) began=$SECONDS code
  shift 2
  if [ $left -lt 10 ]; then
    code=-1
  else
    timeout -k 5 $((most < left ? most : left)) "$@" < /dev/null > "$work/$name.log" 2>&1
    code=$?
  fi
  printf '{"step": "%s", "exit": %d, "seconds": %d}\n' "$name" $code $((SECONDS - began)) > "$work/$name.end"
  case $code in
    -1) echo "$name: not run, the budget of $BUDGET s is spent" ;;
    124 | 137) echo "$name: stopped after $((SECONDS - began)) s" ;;
    *) echo "$name: exit $code in $((SECONDS - began)) s" ;;
  esac
}

gather() { # writes the results so far, so that a killed run leaves them behind
  local name
  for name in $KNOWN; do cat "$work/$name.end" "$ROWS/$name.jsonl" 2> /dev/null; done > "$OUT/rows.jsonl"
  for name in $KNOWN; do [ ! -f "$work/$name.log" ] || { echo "##### $name" && cat "$work/$name.log"; }; done > "$OUT/logs.txt"
}

echo "gpu: $(wc -w <<< "$STEPS") steps, at most $BUDGET s; set up in $SECONDS s. Report: $OUT/gpu.md; how to read it: docs/gpu.md"
for one in $LIMITS; do
  name=${one%:*} most=${one#*:}
  grep -qx -- "$name" <<< "$(printf '%s\n' $STEPS)" || continue
  case $name in
    tests) step=("$PYTHON" -m tests.gpu.marked) ;;
    bench) step=("$PYTHON" -m tests.gpu.bench --step bench --out "$OUT/bench.csv") ;;
    bench-compiled) step=("$PYTHON" -m tests.gpu.bench --step "$name" --out "$OUT/$name.csv" --compile) ;;
    *) step=("$PYTHON" -m "tests.gpu.$name") ;;
  esac
  if [ "${JOBS:-1}" -gt 1 ]; then
    while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do wait -n; done
    run_step "$name" "$most" "${step[@]}" &
  else
    run_step "$name" "$most" "${step[@]}"
    gather
  fi
done
wait
gather
"$PYTHON" -m tests.gpu.summary "$OUT"
! grep -qv '"exit": 0,' "$work"/*.end
