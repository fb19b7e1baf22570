#include "klineagg/detail/printable.hpp"

#include <algorithm>
#include <cstdint>

namespace klineagg::detail {

namespace {

/// The length of the printable character that `bytes` begins with; 0: there is none.
std::size_t character(std::string_view bytes) noexcept {
    const auto byte = [bytes](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
    const unsigned char lead = byte(0);
    if (lead < 0x80) return lead >= 0x20 && lead != 0x7f ? 1 : 0;
    const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || bytes.size() < length) return 0;
    std::uint32_t code = lead & (0x7fU >> length);
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0U) != 0x80) return 0;
        code = (code << 6U) | (byte(i) & 0x3fU);
    }
    constexpr std::uint32_t LEAST[] = {0, 0, 0xa0, 0x800, 0x10000};  // below 0xa0: controls
    const bool is_surrogate = code >= 0xd800 && code < 0xe000;
    return code < LEAST[length] || code > 0x10ffff || is_surrogate ? 0 : length;
}

}  // namespace

std::string printable(std::string_view bytes, std::size_t bytes_max) {
    std::string text;
    for (std::string_view rest = bytes; !rest.empty();) {
        const std::size_t length = character(rest);
        if (text.size() + std::max<std::size_t>(length, 1) > bytes_max) return text + "...";
        if (length == 0) text += '?';
        else text += rest.substr(0, length);
        rest.remove_prefix(std::max<std::size_t>(length, 1));
    }
    return text;
}

}  // namespace klineagg::detail
