#!/usr/bin/env bash
# PostgreSQL, Redis and MLflow for development, in one command: finds the folder mmp-local-dev and a Python, and runs its bootstrap.py.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: ./setup-dev-environment.sh [OPTIONS]
  (none)           write .env, start the services, fill them, check them; again: changes nothing
  --check          only check that what runs keeps the contract
  --down           stop the services; the data stay
  --reset          remove all data, then start anew
  --native         ordinary processes, even where Docker answers
  --docker         Docker, or fail
  --port-offset N  add N to each port, where others use them
  --install        install what is missing through the system's package manager
MMP_LOCAL_DEV names the folder; else ../mmp-local-dev, else the one in this project. PYTHON names the interpreter.
TEXT
}

fail() {
    echo "setup-dev-environment.sh: $1" >&2
    exit 2
}

verb=up
words=()
while (($#)); do
    case $1 in
        --check | --down) verb=${1#--} ;;
        --native | --docker | --install | --reset) words+=("$1") ;;
        --port-offset=*) words+=(--port-offset "${1#*=}") ;;
        --port-offset)
            (($# > 1)) || fail "--port-offset needs a number"
            words+=("$1" "$2")
            shift
            ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            usage >&2
            fail "unknown option $1"
            ;;
    esac
    shift
done

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

folder=
if [[ -n ${MMP_LOCAL_DEV:-} ]]; then
    [[ -f $MMP_LOCAL_DEV/bootstrap.py ]] || fail "MMP_LOCAL_DEV names $MMP_LOCAL_DEV, which holds no bootstrap.py"
    folder=$MMP_LOCAL_DEV
else
    for place in "$here/../mmp-local-dev" "$here/mmp-local-dev"; do
        if [[ -f $place/bootstrap.py ]]; then
            folder=$place
            break
        fi
    done
fi
[[ -n $folder ]] || fail "found no mmp-local-dev beside or in $here; MMP_LOCAL_DEV can name it"

# the environment that is active, the project's own, then what the machine has
python=
for candidate in "${PYTHON:-}" "${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/python}" "$here/.venv/bin/python" \
    python3.11 python3.12 python3.13 python3 python; do
    if [[ -n $candidate ]] && command -v "$candidate" >/dev/null &&
        "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[[ -n $python ]] || fail "Python 3.11, 3.12 or 3.13 is needed and none was found; PYTHON=/path/to/python3.11 names one"

exec "$python" "$(cd -- "$folder" && pwd)/bootstrap.py" "$verb" ${words[@]+"${words[@]}"}
