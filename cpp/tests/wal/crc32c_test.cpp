#include "klineagg/wal/crc32c.hpp"

#include <string>
#include <vector>

#include "catch.hpp"

using klineagg::Bytes;
using klineagg::wal::crc32c;
using klineagg::wal::crc32c_portable;

namespace {

Bytes bytes_of(const std::string& text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

TEST_CASE("CRC-32C of the published vectors", "[wal]") {
    std::string rising;
    std::string falling;
    for (int i = 0; i < 32; ++i) {
        rising += static_cast<char>(i);
        falling += static_cast<char>(31 - i);
    }
    const std::vector<std::pair<std::string, std::uint32_t>> vectors = {
        {"", 0},
        {"123456789", 0xe3069283U},
        {std::string(32, '\0'), 0x8a9136aaU},
        {std::string(32, '\xff'), 0x62a8ab43U},
        {rising, 0x46dd794eU},
        {falling, 0x113fdb5cU},
    };
    for (const auto& [text, expected] : vectors) {
        CHECK(crc32c(0, bytes_of(text)) == expected);
        CHECK(crc32c_portable(0, bytes_of(text)) == expected);
    }
}

TEST_CASE("The processor's CRC and the tables agree, in pieces too", "[wal]") {
    std::string text;
    for (int i = 0; i < 300; ++i) text += static_cast<char>(i * 7 + i / 13);
    for (std::size_t size = 0; size <= text.size(); ++size) {
        const Bytes whole = bytes_of(text).first(size);
        const std::uint32_t expected = crc32c_portable(0, whole);
        REQUIRE(crc32c(0, whole) == expected);
        const std::size_t cut = size * 5 / 7;
        REQUIRE(crc32c(crc32c(0, whole.first(cut)), whole.subspan(cut)) == expected);
    }
}
