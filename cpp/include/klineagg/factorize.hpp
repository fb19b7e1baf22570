// Distinct strings as dense codes, in the order of their first appearance.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace klineagg {

/// Remembers what it has seen, so that a column may come in pieces.
class Factorizer {
public:
    static constexpr std::int32_t MISSING = -1;

    Factorizer();

    /// The code of `text`, a new one when it was not seen before.
    std::int32_t code_of(std::string_view text) {
        const Key key = key_of(text);
        // Trades come in runs of one symbol.
        if (key == last_key_ && last_code_ != MISSING && text.size() <= SHORT) return last_code_;
        std::size_t index = home_of(key);
        for (; slots_[index].code != MISSING; index = (index + 1) & (slots_.size() - 1)) {
            if (slots_[index].key != key) continue;
            const std::int32_t code = slots_[index].code;
            if (text.size() > SHORT && names_[static_cast<std::size_t>(code)] != text) continue;
            last_key_ = key;
            last_code_ = code;
            return code;
        }
        return add(text, key, index);
    }

    [[nodiscard]] std::size_t size() const noexcept { return names_.size(); }
    [[nodiscard]] const std::string& name(std::size_t code) const { return names_[code]; }

private:
    static constexpr std::size_t SHORT = 16;

    // The whole of a short text, two hashes of a longer one. Symbols are short, so that nearly
    // every look-up compares three numbers and touches no other memory.
    struct Key {
        std::uint64_t low = 0;
        std::uint64_t high = 0;
        std::uint64_t size = 0;
        bool operator==(const Key&) const = default;
    };
    struct Slot {
        Key key;
        std::int32_t code = MISSING;
    };

    template <typename Word>
    static std::uint64_t load(const char* data) {
        Word word = 0;
        std::memcpy(&word, data, sizeof word);
        return word;
    }

    static Key key_of(std::string_view text) {
        const std::size_t size = text.size();
        const char* data = text.data();
        // The two halves overlap, which together with the size still tells all texts apart.
        if (size > SHORT) return hash_long(text);
        if (size >= 8) {
            return {load<std::uint64_t>(data), load<std::uint64_t>(data + size - 8), size};
        }
        if (size >= 4) {
            return {load<std::uint32_t>(data), load<std::uint32_t>(data + size - 4), size};
        }
        if (size == 0) return {};
        const auto byte = [data](std::size_t i) { return load<std::uint8_t>(data + i); };
        return {byte(0) | byte(size / 2) << 8 | byte(size - 1) << 16, 0, size};
    }

    [[nodiscard]] std::size_t home_of(const Key& key) const {
        std::uint64_t hash = key.low * 0x9E3779B97F4A7C15ULL;
        hash ^= (key.high + key.size) * 0xD6E8FEB86659FD93ULL;
        hash ^= hash >> 32;
        hash *= 0x9E3779B97F4A7C15ULL;
        return (hash >> 16) & (slots_.size() - 1);
    }

    static Key hash_long(std::string_view text);
    std::int32_t add(std::string_view text, const Key& key, std::size_t index);
    void grow();

    std::vector<Slot> slots_;        // open addressing, a power of two, at most half full
    std::deque<std::string> names_;  // by code
    Key last_key_;
    std::int32_t last_code_ = MISSING;
};

}  // namespace klineagg
