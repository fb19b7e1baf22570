#include "klineagg/wal/crc32c.hpp"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace klineagg::wal {
namespace {

using Table = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Table make_table() {
    Table table{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t crc = byte;
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? 0x82f63b78U : 0U);
        table[0][byte] = crc;
    }
    for (std::size_t step = 1; step < 8; ++step) {
        for (std::size_t byte = 0; byte < 256; ++byte) {
            const std::uint32_t before = table[step - 1][byte];
            table[step][byte] = (before >> 8U) ^ table[0][before & 0xffU];
        }
    }
    return table;
}
constexpr Table TABLE = make_table();

std::uint64_t load_word(const std::byte* from) noexcept {
    std::uint64_t word;
    std::memcpy(&word, from, sizeof word);
    return word;
}

std::uint32_t software(std::uint32_t crc, const std::byte* at, std::size_t size) noexcept {
    for (; size >= 8; size -= 8, at += 8) {
        const std::uint64_t word = load_word(at) ^ crc;
        crc = 0;
        for (std::size_t i = 0; i < 8; ++i) crc ^= TABLE[7 - i][(word >> (8 * i)) & 0xffU];
    }
    for (; size != 0; --size, ++at)
        crc = (crc >> 8U) ^ TABLE[0][(crc ^ static_cast<std::uint32_t>(*at)) & 0xffU];
    return crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2"))) std::uint32_t hardware(std::uint32_t crc, const std::byte* at,
                                                         std::size_t size) noexcept {
    std::uint64_t wide = crc;
    for (; size >= 8; size -= 8, at += 8) wide = _mm_crc32_u64(wide, load_word(at));
    crc = static_cast<std::uint32_t>(wide);
    for (; size != 0; --size, ++at) crc = _mm_crc32_u8(crc, static_cast<unsigned char>(*at));
    return crc;
}
bool has_hardware() noexcept {
    return __builtin_cpu_supports("sse4.2") != 0;
}

#elif defined(__aarch64__) && defined(__linux__)

__attribute__((target("+crc"))) std::uint32_t hardware(std::uint32_t crc, const std::byte* at,
                                                       std::size_t size) noexcept {
    for (; size >= 8; size -= 8, at += 8) crc = __crc32cd(crc, load_word(at));
    for (; size != 0; --size, ++at) crc = __crc32cb(crc, static_cast<std::uint8_t>(*at));
    return crc;
}
bool has_hardware() noexcept {
    return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
}

#else

std::uint32_t hardware(std::uint32_t crc, const std::byte* at, std::size_t size) noexcept {
    return software(crc, at, size);
}
bool has_hardware() noexcept {
    return false;
}

#endif

}  // namespace

std::uint32_t crc32c_portable(std::uint32_t crc, Bytes bytes) noexcept {
    return ~software(~crc, bytes.data(), bytes.size());
}

std::uint32_t crc32c(std::uint32_t crc, Bytes bytes) noexcept {
    static const bool fast = has_hardware();
    return fast ? ~hardware(~crc, bytes.data(), bytes.size()) : crc32c_portable(crc, bytes);
}

}  // namespace klineagg::wal
