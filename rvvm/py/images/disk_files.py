"""Files that every disk has besides its packages': a network, and a short way to the login prompt.

The prompt comes as soon as somebody can log in; the network is set up behind it.
"""

from __future__ import annotations

UNITS = "etc/systemd/system"

_MASKED_GENERATORS = "gpt-auto hibernate-resume rc-local ssh system-update sysv tpm2"

_MASKED_UNITS = """
    dev-hugepages.mount
    e2scrub_all.timer
    e2scrub_reap.service
    ldconfig.service
    modprobe@.service
    proc-sys-fs-binfmt_misc.automount
    sys-fs-fuse-connections.mount
    sys-kernel-config.mount
    sys-kernel-debug.mount
    sys-kernel-tracing.mount
    systemd-binfmt.service
    systemd-creds.socket
    systemd-hibernate-clear.service
    systemd-hwdb-update.service
    systemd-initctl.socket
    systemd-journal-catalog-update.service
    systemd-network-generator.service
    systemd-networkd-persistent-storage.service
    systemd-networkd-wait-online.service
    systemd-pcrextend.socket
    systemd-pcrlock.socket
    systemd-pstore.service
    systemd-random-seed.service
    systemd-remount-fs.service
    systemd-sysext.socket
    systemd-sysusers.service
    systemd-udev-load-credentials.service
    systemd-update-done.service
"""
"""What a virtual machine of this kind has no use for, or what is done when it is needed."""

_AFTER_LOGIN = ("systemd-logind", "systemd-networkd")

_RESOLVE_PATH = """[Unit]
Description=Watch for name servers

[Path]
PathChanged=/run/systemd/netif/state
"""

_RESOLVE = """# libc itself asks: a resolver of systemd's would be in the way of the prompt.
[Unit]
Description=Name servers that networkd has learnt of

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'for server in $$(sed -n s/^DNS=//p /run/systemd/netif/state); do \\
    echo nameserver $${server%%%%#*}; done > /run/resolv.conf'
"""

_NETWORK = """[Match]
Kind=!*
Type=ether

[Network]
DHCP=yes

[DHCPv4]
UseDomains=yes
"""

_GETTY = """# As systemd's, but for: it does not wait for udev, nor asks the terminal for its size.
[Unit]
Description=Serial Getty on %I
After=systemd-user-sessions.service getty-pre.target
Before=getty.target
IgnoreOnIsolate=yes
Conflicts=rescue.service
Before=rescue.service

[Service]
ExecStart=-/sbin/agetty -o '-- \\\\u' --noreset --noclear --keep-baud 115200,9600 - $TERM
Restart=always
UtmpIdentifier=%I
StandardInput=tty
StandardOutput=tty
TTYPath=/dev/%I
TTYReset=no
TTYVHangup=yes
TTYRows=24
TTYColumns=80
IgnoreSIGPIPE=no
SendSIGHUP=yes

[Install]
WantedBy=getty.target
"""

_USER_SESSIONS = """# As systemd's, but for: it does not wait for the network.
[Unit]
Description=Permit User Sessions
After=remote-fs.target nss-user-lookup.target home.mount

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/lib/systemd/systemd-user-sessions start
ExecStop=/usr/lib/systemd/systemd-user-sessions stop
"""

TEXTS = {
    "etc/fstab": "# The root file system is mounted as the kernel's command line says.\n",
    "etc/systemd/network/80-ethernet.network": _NETWORK,
    # One key is made in a moment; RSA's would take a minute.
    "etc/ssh/sshd_config.d/rvvm.conf": "HostKey /etc/ssh/ssh_host_ed25519_key\n",
    f"{UNITS}/rvvm-resolve.path": _RESOLVE_PATH,
    f"{UNITS}/rvvm-resolve.service": _RESOLVE,
    f"{UNITS}/serial-getty@.service": _GETTY,
    f"{UNITS}/systemd-user-sessions.service": _USER_SESSIONS,
    **{
        f"{UNITS}/{name}.service.d/after-login.conf": "[Unit]\nAfter=getty.target\n"
        for name in _AFTER_LOGIN
    },
}
"""Path -> text of the files."""

LINKS = {
    f"{UNITS}/multi-user.target.wants/rvvm-resolve.path": f"/{UNITS}/rvvm-resolve.path",
    "etc/resolv.conf": "../run/resolv.conf",
    f"{UNITS}/default.target": "/usr/lib/systemd/system/multi-user.target",
    **{f"{UNITS}/{unit}": "/dev/null" for unit in _MASKED_UNITS.split()},
    **{
        f"etc/systemd/system-generators/systemd-{name}-generator": "/dev/null"
        for name in _MASKED_GENERATORS.split()
    },
}
"""Path -> target of the links: what systemd is not to start, mostly."""
