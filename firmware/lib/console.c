#include "console.h"

#include "fdt.h"
#include "htif.h"

// 16550 registers, in units of the node's reg-shift.
enum { THR = 0, LSR = 5, LSR_THRE = 0x20 };

static volatile u8 *uart;
static u32 uart_shift;
static bool htif;

void console_open(const void *fdt)
{
    struct fdt_node node;
    struct fdt_region reg;
    if (fdt_find(fdt, "ns16550a", &node) && fdt_reg(&node, 0, &reg)) {
        uart_shift = fdt_u32(&node, "reg-shift", 0);
        uart = (volatile u8 *)reg.base;
    } else {
        htif = htif_present(fdt);
    }
}

static void uart_put_char(char c)
{
    if (c == '\n')
        uart_put_char('\r');
    while (!(uart[LSR << uart_shift] & LSR_THRE))
        ;
    uart[THR << uart_shift] = (u8)c;
}

void put_char(char c)
{
    if (uart)
        uart_put_char(c);
    else if (htif)
        htif_put_char(c);
}
