#include "print.h"

#include <stdarg.h>

void put_text(const char *text)
{
    while (*text)
        put_char(*text++);
}

static void put_number(u64 value, u32 base, int width, char pad)
{
    char digits[20];
    int count = 0;
    do
        digits[count++] = "0123456789abcdef"[value % base];
    while (value /= base);
    for (; width > count; width--)
        put_char(pad);
    while (count)
        put_char(digits[--count]);
}

static void put_signed(int64_t value, int width, char pad)
{
    if (value < 0)
        put_char('-');
    put_number(value < 0 ? -(u64)value : (u64)value, 10, width, pad);
}

void print(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    for (; *format; format++) {
        if (*format != '%') {
            put_char(*format);
            continue;
        }
        char pad = *++format == '0' ? '0' : ' ';
        int width = 0;
        while (*format >= '0' && *format <= '9')
            width = width * 10 + *format++ - '0';
        bool is_long = *format == 'l';
        format += is_long;
        switch (*format) {
        case 'c':
            put_char((char)va_arg(arguments, int));
            break;
        case 's':
            put_text(va_arg(arguments, const char *));
            break;
        case 'd':
            put_signed(is_long ? va_arg(arguments, long) : va_arg(arguments, int), width, pad);
            break;
        case 'u':
        case 'x':
            put_number(is_long ? va_arg(arguments, u64) : va_arg(arguments, u32),
                       *format == 'x' ? 16 : 10, width, pad);
            break;
        default:
            put_char(*format);
        }
    }
    va_end(arguments);
}
