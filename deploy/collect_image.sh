#!/bin/sh
# Usage: collect_image.sh PROGRAM FOLDER. Lays out a root file system that holds a program, the shared libraries that it
# loads, the resolver's modules, the roots of TLS and the licences of what is linked in.
set -eu
program=$1
root=$2
mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/home" "$root/tmp" "$root/lib64"
chmod 1777 "$root/tmp" "$root/home"
strip -o "$root/usr/bin/commissure" "$program"
licences=$(dirname "$program")/third_party_licences.txt
if [ -e "$licences" ]; then
  mkdir -p "$root/usr/share/doc/commissure"
  cp "$licences" "$root/usr/share/doc/commissure/"
fi

copy_library() {
  [ -e "$root$1" ] && return
  mkdir -p "$root$(dirname "$1")"
  cp -L "$1" "$root$1"
}
ldd "$program" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) .*/\1/p' | while read -r library; do
  copy_library "$library"
done
# Loaded by name when hosts are looked up.
for module in libnss_dns.so.2 libnss_files.so.2 libresolv.so.2; do
  path=$(ldconfig -p | sed -n "s/.*$module .*=> \(\/.*\)/\1/p" | head -n 1)
  [ -z "$path" ] || copy_library "$path"
done
# What `chat` has to know of terminals.
for terminal in d/dumb l/linux s/screen s/screen-256color t/tmux t/tmux-256color v/vt100 x/xterm x/xterm-256color; do
  [ ! -e "/lib/terminfo/$terminal" ] || copy_library "/lib/terminfo/$terminal"
done
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
printf 'root:x:0:0:root:/:/sbin/nologin\ncommissure:x:65532:65532::/home:/sbin/nologin\n' >"$root/etc/passwd"
chmod +x "$root/usr/bin/commissure"
