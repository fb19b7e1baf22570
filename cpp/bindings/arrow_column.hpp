// One column of an imported Arrow batch, as NumPy arrays over the producer's memory.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "klineagg/arrow_c.hpp"
#include "klineagg/arrow_type.hpp"

namespace klineagg::arrow {

/// What keeps a producer's memory alive: each array over it holds one reference.
struct Batch {
    std::shared_ptr<const Owned<Schema>> schema;
    Owned<Array> array;
};

/// A bitmap: bit `offset` tells whether row 0 has a value. No bitmap: all rows have.
struct Validity {
    const std::uint8_t* bits = nullptr;
    std::int64_t offset = 0;

    [[nodiscard]] bool has(std::int64_t row) const noexcept {
        if (bits == nullptr) return true;
        const std::int64_t bit = offset + row;
        return (bits[bit >> 3] >> (bit & 7) & 1) != 0;
    }
};

/// A view of rows [offset, offset + length) of an array; slices share the memory.
class Column {
public:
    Column(std::shared_ptr<const Batch> batch, const Schema& schema, const Array& array,
           std::int64_t offset, std::int64_t length, Validity parent = {});

    [[nodiscard]] std::string name() const { return schema_->name != nullptr ? schema_->name : ""; }
    [[nodiscard]] std::string type() const { return type_name(*schema_); }
    [[nodiscard]] const char* kind() const;
    [[nodiscard]] const char* unit() const;
    [[nodiscard]] std::string dtype() const;
    [[nodiscard]] std::int64_t length() const noexcept { return length_; }
    [[nodiscard]] std::int64_t null_count() const;
    [[nodiscard]] std::uintptr_t token() const noexcept {
        return reinterpret_cast<std::uintptr_t>(array_);
    }

    [[nodiscard]] Column slice(std::int64_t start, std::int64_t stop) const;
    [[nodiscard]] pybind11::array values() const;
    [[nodiscard]] pybind11::object valid() const;
    [[nodiscard]] pybind11::array indices() const;
    [[nodiscard]] Column dictionary() const;
    [[nodiscard]] pybind11::array offsets() const;
    [[nodiscard]] Column items() const;

    /// Calls `visit(row, text)` for each row with a value and `missing(row)` for the others.
    template <typename Visit, typename Missing>
    void visit_text(Visit&& visit, Missing&& missing) const;

private:
    [[nodiscard]] bool is_dictionary() const noexcept { return schema_->dictionary != nullptr; }
    [[nodiscard]] bool is_valid(std::int64_t row) const noexcept {
        return own_.has(row) && parent_.has(row);
    }
    [[nodiscard]] const std::byte* buffer(std::int64_t index) const;
    [[nodiscard]] std::string storage_dtype() const;
    [[nodiscard]] pybind11::array view(const std::string& dtype, std::size_t item_bytes) const;
    [[nodiscard]] pybind11::array unpack_bits() const;
    [[nodiscard]] pybind11::array decimals() const;
    [[noreturn]] void refuse(const char* wanted) const;
    template <typename Offset>
    [[nodiscard]] pybind11::array copy_offsets() const;
    template <typename Get, typename Visit, typename Missing>
    void visit_rows(Get&& get, Visit&& visit, Missing&& missing) const;
    template <typename Offset>
    [[nodiscard]] auto offset_text() const;
    [[nodiscard]] auto view_text() const;

    std::shared_ptr<const Batch> batch_;
    const Schema* schema_;
    const Array* array_;
    std::int64_t offset_;  // in the buffers: holds the array's own offset
    std::int64_t length_;
    Validity own_;
    Validity parent_;
    Type type_;
    mutable std::int64_t null_count_ = -1;
};

template <typename Get, typename Visit, typename Missing>
void Column::visit_rows(Get&& get, Visit&& visit, Missing&& missing) const {
    const bool all = null_count() == 0;
    for (std::int64_t row = 0; row < length_; ++row) {
        if (all || is_valid(row)) {
            visit(row, get(offset_ + row));
        } else {
            missing(row);
        }
    }
}

template <typename Offset>
auto Column::offset_text() const {
    const auto* offsets = reinterpret_cast<const Offset*>(buffer(1));
    // A producer may leave the data out when every text is empty.
    const auto* data = static_cast<const char*>(array_->buffers[2]);
    return [offsets, data](std::int64_t row) {
        Offset bounds[2];
        std::memcpy(bounds, offsets + row, sizeof bounds);
        if (bounds[1] <= bounds[0]) return std::string_view{};
        return std::string_view(data + bounds[0], static_cast<std::size_t>(bounds[1] - bounds[0]));
    };
}

inline auto Column::view_text() const {
    const std::byte* views = buffer(1);
    const void* const* data = array_->buffers + 2;
    return [views, data](std::int64_t row) {
        // A length, then up to 12 bytes of text, or 4 bytes of prefix, a buffer and a place in it.
        struct View {
            std::int32_t size;
            std::int32_t prefix;
            std::int32_t buffer;
            std::int32_t offset;
        };
        View view;
        const std::byte* at = views + row * 16;
        std::memcpy(&view, at, sizeof view);
        const char* text = reinterpret_cast<const char*>(at) + 4;
        if (view.size > 12) text = static_cast<const char*>(data[view.buffer]) + view.offset;
        return std::string_view(text, static_cast<std::size_t>(view.size > 0 ? view.size : 0));
    };
}

template <typename Visit, typename Missing>
void Column::visit_text(Visit&& visit, Missing&& missing) const {
    if (is_dictionary()) refuse("text");
    if (length_ == 0) return;
    switch (type_.kind) {
        case Kind::text:
            if (type_.bits == 32) return visit_rows(offset_text<std::int32_t>(), visit, missing);
            return visit_rows(offset_text<std::int64_t>(), visit, missing);
        case Kind::text_view: return visit_rows(view_text(), visit, missing);
        case Kind::text_fixed: {
            const auto* data = reinterpret_cast<const char*>(buffer(1));
            const auto width = static_cast<std::size_t>(type_.width);
            return visit_rows(
                [data, width](std::int64_t row) {
                    const std::string_view text(data + static_cast<std::size_t>(row) * width, width);
                    return text.substr(0, text.find_last_not_of('\0') + 1);
                },
                visit, missing);
        }
        default: refuse("text");
    }
}

}  // namespace klineagg::arrow
