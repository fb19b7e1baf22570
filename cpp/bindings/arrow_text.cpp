#include "arrow_text.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "klineagg/error.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

using Codes = py::array_t<std::int32_t>;

// A strided column of items that may lie at odd addresses (packed structured arrays).
struct Items {
    const char* data;
    py::ssize_t stride;
    py::ssize_t count;
    std::size_t width;

    explicit Items(const py::array& values)
        : data(static_cast<const char*>(values.data())),
          stride(values.strides(0)),
          count(values.shape(0)),
          width(static_cast<std::size_t>(values.itemsize())) {}

    [[nodiscard]] const char* at(py::ssize_t row) const { return data + row * stride; }
};

void append_utf8(std::string& out, std::uint32_t point) {
    const auto add = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
    if (point < 0x80) {
        add(point);
    } else if (point < 0x800) {
        add(0xC0 | point >> 6);
        add(0x80 | (point & 0x3F));
    } else if (point < 0x10000) {
        add(0xE0 | point >> 12);
        add(0x80 | (point >> 6 & 0x3F));
        add(0x80 | (point & 0x3F));
    } else {
        add(0xF0 | (point >> 18 & 0x07));
        add(0x80 | (point >> 12 & 0x3F));
        add(0x80 | (point >> 6 & 0x3F));
        add(0x80 | (point & 0x3F));
    }
}

// Remembers where an item with the same bytes was seen, which is quicker than to make text of it.
class SeenItems {
public:
    explicit SeenItems(std::size_t width) : width_(width), seen_(SIZE) {}

    struct Entry {
        const char* data = nullptr;
        std::int32_t code = Factorizer::MISSING;
    };

    /// The place for the item at `at`; it holds another item, or none, when this one is new.
    Entry& find(const char* at) {
        std::uint64_t hash = 0;
        std::size_t byte = 0;
        for (; byte + 8 <= width_; byte += 8) hash = (hash ^ word(at + byte, 8)) * MULTIPLIER;
        if (byte < width_) hash = (hash ^ word(at + byte, width_ - byte)) * MULTIPLIER;
        return seen_[(hash ^ hash >> 29) * MULTIPLIER >> (64 - BITS)];
    }

    /// Whether two items are equal: by words, since a call for a few bytes costs more than they do.
    [[nodiscard]] bool same(const char* a, const char* b) const {
        std::size_t byte = 0;
        for (; byte + 8 <= width_; byte += 8) {
            if (word(a + byte, 8) != word(b + byte, 8)) return false;
        }
        return byte == width_ || word(a + byte, width_ - byte) == word(b + byte, width_ - byte);
    }

private:
    static constexpr int BITS = 12;
    static constexpr std::size_t SIZE = std::size_t{1} << BITS;
    static constexpr std::uint64_t MULTIPLIER = 0x9E3779B97F4A7C15ULL;

    static std::uint64_t word(const char* at, std::size_t bytes) {
        std::uint64_t value = 0;
        if (bytes == 8) {
            std::memcpy(&value, at, 8);
        } else {
            for (std::size_t i = 0; i < bytes; ++i) {
                value = value << 8 | static_cast<unsigned char>(at[i]);
            }
        }
        return value;
    }

    std::size_t width_;
    std::vector<Entry> seen_;
};

// Calls `text_of(at)` once for nearly every distinct item.
template <typename TextOf>
void encode_items(Factorizer& factorizer, const Items& items, std::int32_t* codes,
                  TextOf&& text_of) {
    SeenItems seen(items.width);
    for (py::ssize_t row = 0; row < items.count; ++row) {
        const char* at = items.at(row);
        if (row > 0 && seen.same(items.at(row - 1), at)) {
            codes[row] = codes[row - 1];
            continue;
        }
        SeenItems::Entry& entry = seen.find(at);
        if (entry.data == nullptr || !seen.same(entry.data, at)) {
            entry = {at, factorizer.code_of(text_of(at))};
        }
        codes[row] = entry.code;
    }
}

// Zeros at the end are padding, those inside belong to the text, as in NumPy.
std::string_view without_padding(std::string_view text) {
    return text.substr(0, text.find_last_not_of('\0') + 1);
}

// dtype 'U': UCS-4.
void encode_ucs4(Factorizer& factorizer, const Items& items, std::int32_t* codes) {
    std::string text;
    encode_items(factorizer, items, codes, [&](const char* at) {
        text.clear();
        for (std::size_t byte = 0; byte < items.width; byte += 4) {
            std::uint32_t point = 0;
            std::memcpy(&point, at + byte, sizeof point);
            append_utf8(text, point);
        }
        return without_padding(text);
    });
}

// dtype 'S': bytes.
void encode_bytes(Factorizer& factorizer, const Items& items, std::int32_t* codes) {
    encode_items(factorizer, items, codes, [&](const char* at) {
        return without_padding({at, items.width});
    });
}

bool is_missing(PyObject* object) {
    if (object == nullptr || object == Py_None) return true;  // NumPy: a null pointer is None
    if (PyFloat_Check(object)) return PyFloat_AS_DOUBLE(object) != PyFloat_AS_DOUBLE(object);
    const std::string_view type = Py_TYPE(object)->tp_name;
    return type.ends_with("NAType") || type.ends_with("NaTType");
}

std::int32_t encode_object(Factorizer& factorizer, PyObject* object, py::ssize_t row) {
    if (PyUnicode_Check(object)) {
        Py_ssize_t size = 0;
        const char* text = PyUnicode_AsUTF8AndSize(object, &size);
        if (text == nullptr) throw py::error_already_set();
        return factorizer.code_of({text, static_cast<std::size_t>(size)});
    }
    if (PyBytes_Check(object)) {
        return factorizer.code_of(
            {PyBytes_AS_STRING(object), static_cast<std::size_t>(PyBytes_GET_SIZE(object))});
    }
    if (is_missing(object)) return Factorizer::MISSING;
    throw Error(ErrorCode::column_type,
                "expected text in row " + std::to_string(row) + ", found " +
                    std::string(Py_TYPE(object)->tp_name),
                {{"row", std::to_string(row)}, {"type", Py_TYPE(object)->tp_name}});
}

// dtype 'O'. Most columns refer to a few objects again and again, and the array keeps each of
// them alive, so that the same address is the same text: no need to look at it twice.
void encode_objects(Factorizer& factorizer, const Items& items, std::int32_t* codes) {
    struct Seen {
        PyObject* object = nullptr;
        std::int32_t code = Factorizer::MISSING;
    };
    constexpr std::size_t SEEN = 4096;
    std::vector<Seen> cache(SEEN);
    for (py::ssize_t row = 0; row < items.count; ++row) {
        PyObject* object = nullptr;
        // NOLINTNEXTLINE(bugprone-sizeof-expression): the pointer itself
        std::memcpy(&object, items.at(row), sizeof object);
        const auto address = reinterpret_cast<std::uintptr_t>(object);
        Seen& seen = cache[(address >> 4 ^ address >> 16) & (SEEN - 1)];
        if (seen.object != object || object == nullptr) {
            seen.code = object == nullptr ? Factorizer::MISSING
                                          : encode_object(factorizer, object, row);
            seen.object = object;
        }
        codes[row] = seen.code;
    }
}

}  // namespace

Codes encode_numpy(Factorizer& factorizer, const py::array& values) {
    if (values.ndim() != 1) throw py::value_error("expected one dimension");
    Codes codes(values.shape(0));
    const Items items(values);
    switch (values.dtype().kind()) {
        case 'U': encode_ucs4(factorizer, items, codes.mutable_data()); break;
        case 'S': encode_bytes(factorizer, items, codes.mutable_data()); break;
        case 'O': encode_objects(factorizer, items, codes.mutable_data()); break;
        default:
            throw Error(ErrorCode::column_type,
                        "expected text, found dtype " + std::string(py::str(values.dtype())));
    }
    return codes;
}

Codes encode_arrow(Factorizer& factorizer, const arrow::Column& column) {
    Codes codes(static_cast<py::ssize_t>(column.length()));
    std::int32_t* out = codes.mutable_data();
    column.visit_text(
        [&](std::int64_t row, std::string_view text) { out[row] = factorizer.code_of(text); },
        [&](std::int64_t row) { out[row] = Factorizer::MISSING; });
    return codes;
}

}  // namespace klineagg
