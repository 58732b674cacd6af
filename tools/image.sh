#!/bin/sh
# Builds the CPU image without any registry of images, and trains and draws in it: debootstrap makes Debian's root,
# buildah builds the Dockerfile on it, chroot runs the result. Needs root, debootstrap and buildah on Debian or Ubuntu.
#
#   FOLDER        where all of it lies, the image too; default build/image, which `make clean` removes
#   MIRROR        of Debian; default the one in debootstrap
#   WHEELS        folder of wheels that pip may take, such as torch for the CPU
#   CONSTRAINTS   pip's constraints, such as the versions that WHEELS has
#   CERTIFICATES  file of certificates that pip needs, as behind a proxy that opens https
set -eu
cd "$(dirname "$0")/.."
folder=$(realpath -m "${FOLDER:-build/image}")
for tool in debootstrap buildah; do
    command -v $tool >/dev/null || { echo "make image needs $tool: apt-get install debootstrap buildah netavark" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "make image needs root, because debootstrap and chroot do" >&2; exit 1; }
mkdir -p "$folder"

# Chroot isolation needs no user namespaces, and the storage is not the machine's.
export BUILDAH_ISOLATION=chroot
buildah() { command buildah --root "$folder/storage" --runroot "$folder/running" "$@"; }
limits="--ulimit nofile=1024:1024 --ulimit nproc=4096:4096"

if [ ! -e "$folder/debian/.complete" ]; then
    debootstrap --variant=minbase trixie "$folder/debian" ${MIRROR:-}
    touch "$folder/debian/.complete"
fi
printf 'FROM scratch\nCOPY . /\n' > "$folder/Debian"
buildah bud $limits --format docker -t velatura-debian -f "$folder/Debian" "$folder/debian"

set -- --build-arg BASE=localhost/velatura-debian --target cpu --format docker -t velatura
printf '[global]\n' > "$folder/pip.conf"  # mounted while the image is built, and not part of it
if [ -n "${WHEELS:-}" ]; then
    printf 'find-links = /wheels\n' >> "$folder/pip.conf"
    set -- "$@" --volume "$(realpath "$WHEELS"):/wheels:ro"
fi
if [ -n "${CERTIFICATES:-}" ]; then
    printf 'cert = /certificates.crt\n' >> "$folder/pip.conf"
    set -- "$@" --volume "$(realpath "$CERTIFICATES"):/certificates.crt:ro"
fi
if [ -n "${CONSTRAINTS:-}" ]; then
    printf 'constraint = /constraints.txt\n' >> "$folder/pip.conf"
    set -- "$@" --volume "$(realpath "$CONSTRAINTS"):/constraints.txt:ro"
fi
set -- "$@" --volume "$folder/pip.conf:/etc/pip.conf:ro"
buildah bud $limits "$@" .

# The image's root, run by chroot as the image's user: `buildah run` may not set limits everywhere.
container=$(buildah from velatura)
root=$(buildah mount "$container")
trap 'umount "$root/proc" 2>/dev/null || true; buildah rm "$container" >/dev/null' EXIT
mount -t proc proc "$root/proc" 2>/dev/null || echo "no /proc in the root: this machine forbids mounts" >&2
inside() {
    chroot --userspec=1000:1000 "$root" /usr/bin/env -i HOME=/home/velatura PATH=/opt/velatura/bin:/usr/bin:/bin \
        VELATURA_HOME=/outputs OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" sh -c 'cd /outputs && exec "$@"' sh "$@"
}
inside velatura --version
inside sh -c 'exec velatura train --images /opt/velatura/lib/python3*/site-packages/presets/samples/black-line \
    --name tiny --steps 2 --set sample.steps=2'
inside velatura inspect tiny
size=$(buildah images --format '{{.Size}}' localhost/velatura)
echo "velatura: $size in $folder; to take it elsewhere:"
echo "buildah --root $folder/storage push velatura docker-archive:velatura.tar"
