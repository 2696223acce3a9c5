#!/bin/sh
# The first process of rvvm's initramfs: goes on with the system on a disk when the kernel's command
# line names one (root=); else a shell on the console, and the machine ends with it.
# A fork costs the guest 100,000 instructions and more, so what can be a builtin is one.
export PATH=/bin HOME=/root PS1='\w \$ ' ENV=/etc/profile
mount -a # /etc/fstab: /dev /proc /sys in one process
echo rvvm > /proc/sys/kernel/hostname
read -r release < /proc/sys/kernel/osrelease
read -r harts < /sys/devices/system/cpu/online
read -r words < /proc/cmdline
# rvvm says how large the terminal is where the console is at one.
rows=
IFS=x read -r rows columns 2> /dev/null < /proc/device-tree/chosen/rvvm,terminal

# At no terminal nobody edits lines, so the shell is not to ask where the cursor is: without echo it
# takes lines as they come, and shows each when it reads it.
prepare_console() {
    if [ -z "$rows" ]; then
        stty -echo
        ENV=/etc/profile.plain
    elif [ "$rows" != 0 ]; then # else it is of unknown size
        stty rows "$rows" columns "$columns"
    fi
} < /dev/console

load() {
    IFS=,
    set -- $1
    unset IFS
    modprobe -a "$@"
}

modules= root= init=/sbin/init kind=ext4 options= access=ro
for word in $words; do
    case $word in
        rvvm.modules=*) modules=$modules,${word#*=} ;;
        root=*) root=${word#*=} ;;
        rootfstype=*) kind=${word#*=} ;;
        rootflags=*) options=,${word#*=} ;;
        init=*) init=${word#*=} ;;
        rw | ro) access=$word ;;
    esac
done
[ "$root" ] || prepare_console
[ -z "$modules" ] || load "${modules#,}"

# The disk, by its path, or LABEL= or UUID=; it may be slow to come, or on the other bus.
find_root() {
    for try in $(seq 50); do
        [ "$try" != 3 ] || modprobe virtio_mmio
        case $root in
            *=*) device=$(findfs "$root" 2> /dev/null) && return ;;
            *) device=$root && [ -b "$root" ] && return ;;
        esac
        sleep 0.1
    done
    return 1
}

switch() {
    modprobe -a virtio_blk virtio_net "$kind"
    find_root || { echo "There is no disk $root."; return; }
    mount -t "$kind" -o "$access$options" "$device" /mnt || return
    # A disk that was made for another kernel: what is here will do for networks and folders.
    home=lib/modules/$release
    [ $access = ro ] || [ -d "/mnt/$home" ] || {
        mkdir -p /mnt/lib/modules
        cp -a "/$home" /mnt/lib/modules/
        chroot /mnt /sbin/depmod "$release" # Debian's modprobe reads another index than busybox's
    }
    [ -x "/mnt/$init" ] || [ -L "/mnt/$init" ] || { echo "$root has no $init."; return; }
    for name in dev proc sys; do
        mount -o move /$name /mnt/$name
    done
    exec switch_root /mnt "$init"
}
[ -z "$root" ] || { switch; prepare_console; }

case $harts in
    0) harts='1 hart' ;;
    *) harts="harts $harts" ;;
esac
printf '\nLinux %s, %s. modprobe knows /lib/modules; exit or poweroff ends the machine.\n\n' \
    "$release" "$harts"

# busybox's poweroff, reboot and halt signal process 1.
trap 'poweroff -f' USR2
trap 'reboot -f' TERM
trap 'halt -f' USR1
cd
# Not started with &: a shell started so ignores Ctrl-C for ever, and so do its children. The second
# setsid finds itself a session's leader, forks and returns at once.
setsid setsid sh -c 'setsid cttyhack sh; poweroff -f' < /dev/console
while :; do
    sleep 1000d &
    wait
done
