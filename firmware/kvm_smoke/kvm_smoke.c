// A whole virtual machine monitor in one page: it makes a guest with /dev/kvm and answers its
// exits. Runs in a Linux guest of rvvm's (modprobe kvm), where it shows that the H extension does
// what Linux's KVM needs. Linux, Documentation/virt/kvm/api.rst.

#include <linux/fcntl.h>
#include <linux/kvm.h>
#include <linux/mman.h>

#include "linux.h"
#include "print.h"
#include "sbi.h"

enum { MEMORY = 0x200000, DEVICE_ANSWER = 41 };
static const u64 GUEST_MEMORY = 0x80000000, DEVICE = 0x10000000;

extern const char guest_code[], guest_code_end[];

// What the guest did, to compare with what it was meant to do.
static char printed[64];
static u32 printed_length, loads, stores, shutdowns, stored;

static long checked(long result, const char *what)
{
    if (result < 0) {
        print("%s: error %ld\nkvm_smoke: FAIL\n", what, -result);
        sys_exit(1);
    }
    return result;
}

static long do_ioctl(int file, const char *what, unsigned long request, const void *argument)
{
    return checked(sys_ioctl(file, request, (unsigned long)argument), what);
}

// An ioctl, with its name for the message when it fails.
#define IOCTL(file, request, argument) do_ioctl(file, #request, request, argument)

static void *mapped(size_t size, int flags, int file)
{
    return (void *)checked(sys_mmap(size, flags, file), "mmap");
}

static void give_memory(int vm)
{
    char *memory = mapped(MEMORY, MAP_SHARED | MAP_ANONYMOUS, -1);
    memcpy(memory, guest_code, (size_t)(guest_code_end - guest_code));
    struct kvm_userspace_memory_region region = {
        .guest_phys_addr = GUEST_MEMORY,
        .memory_size = MEMORY,
        .userspace_addr = (u64)memory,
    };
    IOCTL(vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static void set_register(int vcpu, uint64_t which, uint64_t value)
{
    struct kvm_one_reg reg = {
        .id = KVM_REG_RISCV | KVM_REG_SIZE_U64 | which,
        .addr = (u64)&value,
    };
    IOCTL(vcpu, KVM_SET_ONE_REG, &reg);
}

static void on_sbi(struct kvm_run *run)
{
    if (run->riscv_sbi.extension_id == SBI_DEBUG_CONSOLE &&
        run->riscv_sbi.function_id == SBI_CONSOLE_WRITE_BYTE && printed_length + 1 < sizeof printed)
        printed[printed_length++] = (char)run->riscv_sbi.args[0];
    run->riscv_sbi.ret[0] = SBI_SUCCESS;
}

static void on_mmio(struct kvm_run *run)
{
    static const u32 answer = DEVICE_ANSWER;
    u64 address = run->mmio.phys_addr;
    print("  %s of %u bytes at guest-physical 0x%lx\n", run->mmio.is_write ? "store" : "load",
          run->mmio.len, address);
    if (run->mmio.is_write) {
        memcpy(&stored, run->mmio.data, sizeof stored);
        stores += address == DEVICE + 4;
    } else {
        memcpy(run->mmio.data, &answer, sizeof answer);
        loads += address == DEVICE;
    }
}

static void on_system_event(struct kvm_run *run)
{
    print("  system event %u\n", run->system_event.type);
    shutdowns += run->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN;
}

static void run_guest(int vcpu, struct kvm_run *run)
{
    while (!shutdowns) {
        IOCTL(vcpu, KVM_RUN, 0);
        switch (run->exit_reason) {
        case KVM_EXIT_RISCV_SBI:
            on_sbi(run);
            break;
        case KVM_EXIT_MMIO:
            on_mmio(run);
            break;
        case KVM_EXIT_SYSTEM_EVENT:
            on_system_event(run);
            break;
        default:
            print("  exit %u, which nobody expected\n", run->exit_reason);
            return;
        }
    }
}

int main(void)
{
    int kvm = (int)checked(sys_open("/dev/kvm", O_RDWR), "/dev/kvm (modprobe kvm?)");
    print("kvm_smoke: KVM API %ld\n", IOCTL(kvm, KVM_GET_API_VERSION, 0));
    int vm = (int)IOCTL(kvm, KVM_CREATE_VM, 0);
    give_memory(vm);
    int vcpu = (int)IOCTL(vm, KVM_CREATE_VCPU, 0);
    struct kvm_run *run = mapped((size_t)IOCTL(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), MAP_SHARED, vcpu);
    set_register(vcpu, KVM_REG_RISCV_CORE | KVM_REG_RISCV_CORE_REG(regs.pc), GUEST_MEMORY);
    set_register(vcpu, KVM_REG_RISCV_CORE | KVM_REG_RISCV_CORE_REG(regs.a0), DEVICE);
    // Off unless asked for, because it is for us to answer.
    set_register(vcpu, KVM_REG_RISCV_SBI_EXT | KVM_RISCV_SBI_EXT_DBCN, 1);
    run_guest(vcpu, run);
    print("  the guest printed: %s", printed);
    bool good = same_text(printed, "hello from VS-mode under KVM\n") && loads == 1 && stores == 1 &&
                stored == DEVICE_ANSWER + 1 && shutdowns == 1;
    print("kvm_smoke: %s\n", good ? "PASS" : "FAIL");
    return !good;
}
