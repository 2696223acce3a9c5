#!/bin/sh
# The first process of a machine that makes a disk: a file system on vda, with what the archive in
# vdb holds; then the rest is done from there.
export PATH=/bin
mount -a
modprobe -a virtio_blk ext4

finish() {
    echo "rvvm: $1"
    poweroff -f
    sleep 1000d
}

echo "rvvm: making the file system"
/mke2fs -q -t ext4 -L rvvm-root -m 1 /dev/vda || finish "mke2fs failed"
# What a power cut would damage here is thrown away, so nothing need be on the disk before the end.
mount -t ext4 -o noatime,nobarrier,data=writeback /dev/vda /mnt || finish "mount failed"
tar -x -f /dev/vdb -C /mnt || finish "tar failed"
for name in dev proc sys; do
    mount --bind /$name /mnt/$name
done
mount -t tmpfs none /mnt/run
chroot /mnt /bin/sh /var/lib/rvvm/configure || finish "configuration failed"
rm /mnt/var/lib/rvvm/configure /mnt/var/lib/rvvm/steps
umount /mnt/run /mnt/sys /mnt/proc /mnt/dev
umount /mnt || finish "umount failed"
finish "built"
