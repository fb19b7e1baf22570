#include "arrow_column.hpp"

#include <bit>
#include <utility>

#include "klineagg/arrow_decimal.hpp"
#include "klineagg/error.hpp"

namespace py = pybind11;

namespace klineagg::arrow {
namespace {

// The least that a type needs; reading a buffer that is not there would crash.
std::int64_t buffers_needed(const Type& type, bool is_dictionary) {
    if (is_dictionary) return 2;
    switch (type.kind) {
        case Kind::null: return 0;
        case Kind::structure: return 1;
        case Kind::text:
        case Kind::text_view: return 3;
        case Kind::other: return 0;
        default: return 2;
    }
}

// Set bits of [first, first + count), a byte at a time where whole bytes are asked for.
std::int64_t count_bits(const std::uint8_t* bits, std::int64_t first, std::int64_t count) {
    std::int64_t set = 0;
    std::int64_t bit = first;
    const std::int64_t end = first + count;
    for (; bit < end && (bit & 7) != 0; ++bit) set += bits[bit >> 3] >> (bit & 7) & 1;
    for (; bit + 8 <= end; bit += 8) set += std::popcount(bits[bit >> 3]);
    for (; bit < end; ++bit) set += bits[bit >> 3] >> (bit & 7) & 1;
    return set;
}

}  // namespace

Column::Column(std::shared_ptr<const Batch> batch, const Schema& schema, const Array& array,
               std::int64_t offset, std::int64_t length, Validity parent)
    : batch_(std::move(batch)),
      schema_(&schema),
      array_(&array),
      offset_(array.offset + offset),
      length_(length),
      parent_(parent),
      type_(parse_type(schema.format != nullptr ? schema.format : "")) {
    const bool broken = array.length < offset + length || offset < 0 || length < 0 ||
                        array.n_buffers < buffers_needed(type_, is_dictionary()) ||
                        (is_dictionary() && array.dictionary == nullptr);
    if (broken) {
        throw Error(ErrorCode::unsupported_input,
                    "column '" + name() + "': the Arrow producer's array does not fit its type " +
                        type(),
                    {{"column", name()}, {"reason", "malformed"}});
    }
    const bool has_bitmap = type_.kind != Kind::null && type_.kind != Kind::other;
    if (has_bitmap && array.null_count != 0 && array.n_buffers > 0) {
        own_ = {static_cast<const std::uint8_t*>(array.buffers[0]), offset_};
    }
}

const char* Column::kind() const {
    if (is_dictionary()) return "dictionary";
    switch (type_.kind) {
        case Kind::null: return "null";
        case Kind::boolean: return "bool";
        case Kind::integer: return "int";
        case Kind::floating: return "float";
        case Kind::decimal: return "decimal";
        case Kind::text:
        case Kind::text_view:
        case Kind::text_fixed: return "text";
        case Kind::date: return "date";
        case Kind::time_of_day: return "time";
        case Kind::timestamp: return "timestamp";
        case Kind::duration: return "duration";
        case Kind::list: return "list";
        case Kind::structure:
        case Kind::other: break;
    }
    return "other";
}

const char* Column::unit() const {
    switch (type_.unit) {
        case 'D': return "D";
        case 's': return "s";
        case 'm': return "ms";
        case 'u': return "us";
        case 'n': return "ns";
        default: return "";
    }
}

std::string Column::storage_dtype() const {
    switch (type_.kind) {
        case Kind::integer: return (type_.is_signed ? "int" : "uint") + std::to_string(type_.bits);
        case Kind::floating: return "float" + std::to_string(type_.bits);
        case Kind::date:
        case Kind::time_of_day:
        case Kind::timestamp:
        case Kind::duration: return "int" + std::to_string(type_.bits);
        default: return {};
    }
}

std::string Column::dtype() const { return is_dictionary() ? std::string{} : storage_dtype(); }

std::int64_t Column::null_count() const {
    if (null_count_ >= 0) return null_count_;
    if (type_.kind == Kind::null) {
        null_count_ = length_;
    } else if (own_.bits == nullptr || parent_.bits == nullptr) {
        const Validity& only = own_.bits != nullptr ? own_ : parent_;
        null_count_ =
            only.bits == nullptr ? 0 : length_ - count_bits(only.bits, only.offset, length_);
    } else {
        std::int64_t nulls = 0;
        for (std::int64_t row = 0; row < length_; ++row) nulls += is_valid(row) ? 0 : 1;
        null_count_ = nulls;
    }
    return null_count_;
}

Column Column::slice(std::int64_t start, std::int64_t stop) const {
    if (start < 0 || stop < start || stop > length_) throw py::index_error("slice out of range");
    Column part = *this;
    part.offset_ += start;
    part.own_.offset += start;
    part.parent_.offset += start;
    part.length_ = stop - start;
    part.null_count_ = null_count_ == 0 ? 0 : -1;
    return part;
}

const std::byte* Column::buffer(std::int64_t index) const {
    const void* memory = index < array_->n_buffers ? array_->buffers[index] : nullptr;
    if (memory == nullptr && length_ > 0) {
        throw Error(ErrorCode::unsupported_input,
                    "column '" + name() + "': the Arrow producer left out buffer " +
                        std::to_string(index),
                    {{"column", name()}, {"reason", "malformed"}});
    }
    return static_cast<const std::byte*>(memory);
}

void Column::refuse(const char* wanted) const {
    throw Error(ErrorCode::column_type,
                "column '" + name() + "' has the type " + type() + ", which cannot be read as " +
                    wanted,
                {{"column", name()}, {"type", type()}});
}

py::array Column::view(const std::string& dtype, std::size_t item_bytes) const {
    const auto stride = static_cast<py::ssize_t>(item_bytes);
    if (length_ == 0) return py::array(py::dtype(dtype), std::vector<py::ssize_t>{0});
    const py::capsule owner(new std::shared_ptr<const Batch>(batch_), [](void* pointer) {
        delete static_cast<std::shared_ptr<const Batch>*>(pointer);
    });
    py::array array(py::dtype(dtype), {static_cast<py::ssize_t>(length_)}, {stride},
                    buffer(1) + offset_ * stride, owner);
    // Arrow data is immutable: others may hold the same memory.
    array.attr("flags").attr("writeable") = false;
    return array;
}

py::array Column::unpack_bits() const {
    py::array_t<bool> out(static_cast<py::ssize_t>(length_));
    const Validity bits{reinterpret_cast<const std::uint8_t*>(buffer(1)), offset_};
    bool* values = out.mutable_data();
    for (std::int64_t row = 0; row < length_; ++row) values[row] = bits.has(row);
    return out;
}

py::array Column::decimals() const {
    py::array_t<double> out(static_cast<py::ssize_t>(length_));
    const int bytes = type_.bits / 8;
    const std::byte* data = buffer(1);
    double* values = out.mutable_data();
    const bool all = null_count() == 0;
    for (std::int64_t row = 0; row < length_; ++row) {
        values[row] = all || is_valid(row)
                          ? decimal_to_double(data + (offset_ + row) * bytes, bytes, type_.scale)
                          : 0.0;
    }
    return out;
}

py::array Column::values() const {
    if (is_dictionary()) refuse("plain values");
    switch (type_.kind) {
        case Kind::boolean: return unpack_bits();
        case Kind::decimal: return decimals();
        case Kind::null: {
            py::array_t<std::int8_t> zeros(static_cast<py::ssize_t>(length_));
            std::memset(zeros.mutable_data(), 0, static_cast<std::size_t>(length_));
            return zeros;
        }
        default: break;
    }
    const std::string dtype = storage_dtype();
    if (dtype.empty()) refuse("numbers");
    return view(dtype, static_cast<std::size_t>(type_.bits) / 8);
}

py::object Column::valid() const {
    if (null_count() == 0) return py::none();
    py::array_t<bool> out(static_cast<py::ssize_t>(length_));
    bool* values = out.mutable_data();
    const bool is_null_type = type_.kind == Kind::null;
    for (std::int64_t row = 0; row < length_; ++row) values[row] = !is_null_type && is_valid(row);
    return out;
}

py::array Column::indices() const {
    if (!is_dictionary() || type_.kind != Kind::integer) refuse("a dictionary");
    return view(storage_dtype(), static_cast<std::size_t>(type_.bits) / 8);
}

Column Column::dictionary() const {
    if (!is_dictionary()) refuse("a dictionary");
    const Array& values = *array_->dictionary;
    return {batch_, *schema_->dictionary, values, 0, values.length};
}

template <typename Offset>
py::array Column::copy_offsets() const {
    py::array_t<std::int64_t> out(static_cast<py::ssize_t>(length_) + 1);
    std::int64_t* values = out.mutable_data();
    values[0] = 0;
    if (length_ == 0) return out;  // even the first offset may be left out of an empty array
    const auto* offsets = reinterpret_cast<const Offset*>(buffer(1)) + offset_;
    for (std::int64_t row = 0; row <= length_; ++row) values[row] = offsets[row];
    return out;
}

py::array Column::offsets() const {
    if (is_dictionary() || type_.kind != Kind::list) refuse("a list");
    return type_.bits == 32 ? copy_offsets<std::int32_t>() : copy_offsets<std::int64_t>();
}

Column Column::items() const {
    if (is_dictionary() || type_.kind != Kind::list || array_->n_children != 1) refuse("a list");
    const Array& items = *array_->children[0];
    return {batch_, *schema_->children[0], items, 0, items.length};
}

}  // namespace klineagg::arrow
