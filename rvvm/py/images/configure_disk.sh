#!/bin/sh
# In the new system: what dpkg does after it has unpacked, then what the recipe asks for.
set -e
export PATH=/usr/sbin:/usr/bin HOME=/root LC_ALL=C.UTF-8
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true
cd /var/lib/dpkg
touch available diversions statoverride

preinst() {
    package=${1%.preinst}
    DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_PACKAGE=${package%:*} \
        DPKG_MAINTSCRIPT_ARCH=riscv64 "info/$1" install
}
preinst base-passwd.preinst # the users and groups that others' scripts name
for script in info/*.preinst; do
    [ "$script" = info/base-passwd.preinst ] || preinst "${script#info/}"
done
echo "rvvm: configuring"
dpkg --force-unsafe-io --configure --pending

depmod "$(uname -r)"
systemctl -q enable systemd-networkd.service
systemctl -q disable ssh.service
systemctl -q enable ssh.socket
. /var/lib/rvvm/steps
rm -rf /var/cache/debconf/*-old /var/log/dpkg.log /var/log/alternatives.log
