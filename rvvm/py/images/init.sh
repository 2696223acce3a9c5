#!/bin/sh
# The first process of rvvm's initramfs: a shell on the console; the machine ends with it.
# A fork costs the guest 100,000 instructions and more, so what can be a builtin is one.
export PATH=/bin HOME=/root PS1='\w \$ ' ENV=/etc/profile
mount -a # /etc/fstab: /dev /proc /sys in one process
echo rvvm > /proc/sys/kernel/hostname
read -r release < /proc/sys/kernel/osrelease
read -r harts < /sys/devices/system/cpu/online
read -r words < /proc/cmdline

# rvvm.modules=kvm,9p on the kernel's command line
for word in $words; do
    case $word in
        rvvm.modules=*)
            IFS=,
            set -- ${word#*=}
            unset IFS
            modprobe -a "$@"
            ;;
    esac
done

printf '\nLinux %s, harts %s. modprobe knows /lib/modules; exit or poweroff ends the machine.\n\n' \
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
