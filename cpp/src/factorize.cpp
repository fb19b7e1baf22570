#include "klineagg/factorize.hpp"

#include <limits>

#include "klineagg/error.hpp"

namespace klineagg {
namespace {

constexpr std::size_t INITIAL_SLOTS = 256;

std::uint64_t mix(std::uint64_t value) {
    value ^= value >> 32;
    value *= 0x9E3779B97F4A7C15ULL;
    return value ^ value >> 29;
}

}  // namespace

Factorizer::Factorizer() : slots_(INITIAL_SLOTS) {}

Factorizer::Key Factorizer::hash_long(std::string_view text) {
    Key key{0, 0, text.size()};
    const char* data = text.data();
    const char* const last = data + text.size() - 8;
    for (; data < last; data += 8) {
        const std::uint64_t word = load<std::uint64_t>(data);
        key.low = mix(key.low ^ word);
        key.high = mix(key.high + word) * 0xD6E8FEB86659FD93ULL;
    }
    key.low = mix(key.low ^ load<std::uint64_t>(last));
    return key;
}

std::int32_t Factorizer::add(std::string_view text, const Key& key, std::size_t index) {
    if (names_.size() >= static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
        throw Error(ErrorCode::unsupported_input, "more than 2^31 - 1 distinct strings");
    }
    const auto code = static_cast<std::int32_t>(names_.size());
    names_.emplace_back(text);
    slots_[index] = {key, code};
    last_key_ = key;
    last_code_ = code;
    if (names_.size() * 2 > slots_.size()) grow();
    return code;
}

void Factorizer::grow() {
    std::vector<Slot> wider(slots_.size() * 4);
    slots_.swap(wider);  // home_of goes by the size of slots_
    for (const Slot& slot : wider) {
        if (slot.code == MISSING) continue;
        std::size_t index = home_of(slot.key);
        while (slots_[index].code != MISSING) index = (index + 1) & (slots_.size() - 1);
        slots_[index] = slot;
    }
}

}  // namespace klineagg
