// As much of ELF-64 as loading a static program takes (System V ABI, chapters 4 and 5).
#pragma once

#include "types.h"

struct elf_header {
    u8 ident[16];
    u16 type, machine;
    u32 version;
    u64 entry, program_headers, section_headers;
    u32 flags;
    u16 size, program_header_size, program_header_count;
};

struct elf_program_header {
    u32 type, flags;
    u64 offset, virtual, physical, file_size, memory_size, align;
};

enum { ELF_LOAD = 1 };
