#!/usr/bin/env bash
# Does a bundle find on aarch64 what it finds on x86? Debian for arm64 and the runtime's wheels for aarch64, run by
# qemu's user emulation; nothing is installed or registered on the machine.
#
#     sudo apt install mmdebstrap qemu-user-static
#     tests/arm/emulated.sh [FOLDER]          # default: build/arm
#
# Set in the environment: FRAMES (3), CPUS (cortex-a72 cortex-a76 i8mm), SUITE (bookworm), PYTHON (.venv/bin/python),
# ORT (the version of ONNX Runtime on the emulated side; default: the one of .venv). What FOLDER already holds is kept;
# remove it to begin anew. Exit code 3: something differs.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(realpath -m "${1:-build/arm}")
python=${PYTHON:-.venv/bin/python}
suite=${SUITE:-bookworm}
root=$work/root-$suite
mkdir -p "$work"
export PYTHONPATH=$PWD PYTHONDONTWRITEBYTECODE=1

for tool in mmdebstrap qemu-aarch64-static; do
    if ! command -v "$tool" >/dev/null; then
        echo "$tool is needed: sudo apt install mmdebstrap qemu-user-static" >&2
        exit 1
    fi
done

# Extracted, not installed: no script of a package runs, so neither root nor binfmt_misc is needed.
if [ ! -e "$root/usr/bin/python3" ]; then
    mmdebstrap --quiet --variant=extract --architectures=arm64 \
        --include=python3,python3-minimal,libpython3-stdlib,libstdc++6,libgcc-s1 "$suite" "$root"
fi
interpreter=$(basename "$(readlink -f "$root/usr/bin/python3")")

# Processors, as qemu names them and as Linux would describe them: ONNX Runtime reads that, and crashes while it is
# imported on the text of an x86, which qemu 7.2 hands through. The last has the 8-bit matrix products of newer cores,
# without SVE, which takes qemu more than ten minutes, and with pointer authentication done the cheap way.
declare -A cpu_of=(
    [cortex-a72]=cortex-a72
    [cortex-a76]=cortex-a76
    [i8mm]=max,sve=off,sme=off,pauth-impdef=on
)
basic="fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
dotprod="$basic atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"
declare -A features=([cortex-a72]=$basic [cortex-a76]=$dotprod [i8mm]="$dotprod i8mm bf16")
declare -A part=([cortex-a72]=0xd08 [cortex-a76]=0xd0b [i8mm]=0xd4f)

emulated() {
    local name=$1 core
    shift
    mkdir -p "$root/proc"
    for core in 0 1; do
        printf 'processor\t: %s\nBogoMIPS\t: 50.00\nFeatures\t: %s\nCPU implementer\t: 0x41\n' "$core" "${features[$name]}"
        printf 'CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: %s\nCPU revision\t: 0\n\n' "${part[$name]}"
    done >"$root/proc/cpuinfo"
    PYTHONPATH=$site:$PWD \
        qemu-aarch64-static -cpu "${cpu_of[$name]}" -L "$root" "$root/usr/bin/$interpreter" "$@"
}

# The versions of .venv, so that nothing but the processor differs.
version_of() { "$python" -c "import importlib.metadata as m; print(m.version('$1'))"; }
ort=${ORT:-$(version_of onnxruntime)}
site=$work/site-$suite-ort-$ort
if [ ! -e "$site/onnxruntime" ]; then
    facts=$(qemu-aarch64-static -L "$root" "$root/usr/bin/$interpreter" -c \
        'import platform, sys; print("%d.%d" % sys.version_info[:2], platform.libc_ver()[1].split(".")[1])')
    read -r version glibc <<<"$facts"
    platforms=(--platform manylinux2014_aarch64)
    for minor in $(seq 17 "$glibc"); do platforms+=(--platform "manylinux_2_${minor}_aarch64"); done
    pins=("onnxruntime==$ort")
    for name in click numpy opencv-python-headless pillow pycocotools rich; do
        pins+=("$name==$(version_of "$name")")
    done
    "$python" -m pip install --quiet --target "$site" --only-binary=:all: --implementation cp \
        --python-version "$version" "${platforms[@]}" "${pins[@]}"
fi

model=$work/model
edgeseg() { "$python" -c 'from edgeseg.tools.main import main; main()' "$@"; }
if [ ! -e "$model/engines/onnxruntime-int8.onnx" ]; then
    "$python" tests/arm/detect.py frames "$work/calibration" --first 1 --count 100
    edgeseg export edgeseg/demo/conveyor.safetensors --size 384 512 -o "$model" --force
    edgeseg calibrate --calib "$work/calibration" --model "$model" --force
    edgeseg build-engine --int8 --target onnxruntime --machine aarch64 --model "$model"
fi
# Scenes that training and calibration never used.
rm -rf "$work/frames"
"$python" tests/arm/detect.py frames "$work/frames" --first 1000000 --count "${FRAMES:-3}"

"$python" tests/arm/detect.py run "$model" "$work/frames" "$work/x86.npz"
found=()
for name in ${CPUS:-cortex-a72 cortex-a76 i8mm}; do
    echo "emulated $name: $interpreter, ONNX Runtime $ort" >&2
    emulated "$name" tests/arm/detect.py run "$model" "$work/frames" "$work/$name.npz" --pixels-of "$work/x86.npz"
    found+=("$work/$name.npz")
done
# And once as a user would, from pictures to overlays and COCO results.
emulated cortex-a76 -c 'from edgeseg.tools.main import main; main()' run --model "$model" --source "$work/frames" \
    --output "$work/found" --force
"$python" tests/arm/detect.py compare "$model" "$work/x86.npz" "${found[@]}"
