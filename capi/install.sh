#!/bin/sh
# Install what `make build` left in build/: capi/install.sh VERSION PREFIX [DESTDIR]
# Also makes build/libp2pgo.pc, with which programs build against the tree itself: capi/install.sh VERSION --pc
set -eu
cd "$(dirname "$0")/.."
version=$1 prefix=$2 destdir=${3:-}

fill() { # fill TEMPLATE LIBDIR INCLUDEDIR
    sed -e "s|@VERSION@|$version|g" -e "s|@PREFIX@|$prefix|g" -e "s|@LIBDIR@|$2|g" -e "s|@INCLUDEDIR@|$3|g" "$1"
}

if [ "$prefix" = --pc ]; then
    prefix=$PWD/build
    fill capi/libp2pgo.pc.in '${prefix}' '${prefix}/include' >build/libp2pgo.pc
    exit
fi

case $prefix in /*) ;; *) echo "install: PREFIX must be absolute: $prefix" >&2; exit 2 ;; esac
lib=$destdir$prefix/lib include=$destdir$prefix/include doc=$destdir$prefix/share/doc/libp2pgo
mkdir -p "$lib/pkgconfig" "$lib/cmake/libp2pgo" "$include" "$doc/examples"

# The new file first takes its own name and is then renamed: programs that run the old one keep it.
install -m 755 build/libp2pgo.so "$lib/.libp2pgo.so.$$"
mv "$lib/.libp2pgo.so.$$" "$lib/libp2pgo.so.$version"
ln -sf "libp2pgo.so.$version" "$lib/libp2pgo.so.1"
ln -sf libp2pgo.so.1 "$lib/libp2pgo.so"

install -m 644 include/libp2p.h "$include/libp2p.h"
fill capi/libp2pgo.pc.in '${prefix}/lib' '${prefix}/include' >"$lib/pkgconfig/libp2pgo.pc"
fill capi/libp2pgo-config.cmake.in '' '' >"$lib/cmake/libp2pgo/libp2pgo-config.cmake"
fill capi/libp2pgo-config-version.cmake.in '' '' >"$lib/cmake/libp2pgo/libp2pgo-config-version.cmake"
chmod 644 "$lib/pkgconfig/libp2pgo.pc" "$lib"/cmake/libp2pgo/*.cmake

install -m 644 README.md LICENSE LICENSE-MIT LICENSE-APACHE "$doc"
for page in docs/*.md; do if [ -e "$page" ]; then install -m 644 "$page" "$doc"; fi; done
for example in examples/*/*.c; do install -m 644 "$example" "$doc/examples"; done
