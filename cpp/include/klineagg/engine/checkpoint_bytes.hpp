// Numbers as bytes and back: little-endian, bounded, the same on every machine.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "klineagg/error.hpp"

namespace klineagg::engine {

static_assert(std::endian::native == std::endian::little, "records are written as they are");

/// Appends to a buffer, which grows.
class ByteWriter {
public:
    explicit ByteWriter(std::vector<std::byte>& to) noexcept : to_(&to) {}

    template <class Number>
    void put(Number number) {
        static_assert(std::is_arithmetic_v<Number> || std::is_enum_v<Number>);
        put_bytes(&number, sizeof number);
    }
    void put_price(double price) { put(price == price ? price : NO_NUMBER); }
    void put_text(std::string_view text) {
        put(static_cast<std::uint32_t>(text.size()));
        put_bytes(text.data(), text.size());
    }
    void put_bytes(const void* bytes, std::size_t size) {
        const std::size_t at = to_->size();
        to_->resize(at + size);
        if (size != 0) std::memcpy(to_->data() + at, bytes, size);
    }
    /// Overwrites what was put at `at`.
    template <class Number>
    void put_at(std::size_t at, Number number) noexcept {
        std::memcpy(to_->data() + at, &number, sizeof number);
    }
    [[nodiscard]] std::size_t size() const noexcept { return to_->size(); }

private:
    // Of all the bit patterns of "not a number" one, so that equal states have equal bytes.
    static constexpr double NO_NUMBER = std::numeric_limits<double>::quiet_NaN();

    std::vector<std::byte>* to_;
};

/// Reads bytes that anybody may have written: never beyond their end, and what is wrong with them
/// is an Error(checkpoint_format).
class ByteReader {
public:
    /// `begin`: where `bytes` begin in the whole, for messages.
    explicit ByteReader(std::span<const std::byte> bytes, std::size_t begin = 0) noexcept
        : bytes_(bytes), begin_(begin) {}

    template <class Number>
    [[nodiscard]] Number get() {
        static_assert(std::is_arithmetic_v<Number>);
        Number number;
        const std::span<const std::byte> from = get_bytes(sizeof number);
        std::memcpy(&number, from.data(), sizeof number);
        return number;
    }
    /// A number that says how many items of at least `least` bytes each follow.
    [[nodiscard]] std::size_t get_count(std::size_t least) {
        const auto count = get<std::uint32_t>();
        if (count > left() / least) fail("more items than bytes");
        return count;
    }
    [[nodiscard]] bool get_bool() {
        const auto value = get<std::uint8_t>();
        if (value > 1) fail("neither yes nor no");
        return value != 0;
    }
    [[nodiscard]] std::string get_text(std::size_t longest) {
        const std::size_t size = get_count(1);
        if (size > longest) fail("a text that is too long");
        const std::span<const std::byte> from = get_bytes(size);
        return {reinterpret_cast<const char*>(from.data()), from.size()};
    }
    [[nodiscard]] std::span<const std::byte> get_bytes(std::size_t size) {
        if (size > left()) fail("it ends too early");
        const std::span<const std::byte> from = bytes_.subspan(at_, size);
        at_ += size;
        return from;
    }
    /// A reader of the next `size` bytes.
    [[nodiscard]] ByteReader get_part(std::size_t size) {
        const std::size_t begin = begin_ + at_;
        return ByteReader(get_bytes(size), begin);
    }
    [[nodiscard]] std::size_t left() const noexcept { return bytes_.size() - at_; }
    void check(bool good, const char* reason) const {
        if (!good) [[unlikely]] fail(reason);
    }
    void check_end() const { check(left() == 0, "bytes behind its end"); }
    [[noreturn]] void fail(const char* reason) const {
        const std::string position = std::to_string(begin_ + at_);
        throw Error(ErrorCode::checkpoint_format,
                    "the checkpoint is damaged at byte " + position + ": " + reason,
                    {{"position", position}, {"reason", reason}});
    }

private:
    std::span<const std::byte> bytes_;
    std::size_t at_ = 0;
    std::size_t begin_;
};

}  // namespace klineagg::engine
