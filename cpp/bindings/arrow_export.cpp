#include "arrow_export.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <limits>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "arrow_node.hpp"
#include "gil.hpp"
#include "klineagg/arrow_type.hpp"
#include "klineagg/error.hpp"

namespace py = pybind11;

namespace klineagg::arrow {
namespace {

// Distinct texts in the layout of an Arrow utf8 array.
struct Dictionary {
    std::vector<std::int32_t> offsets{0};
    std::string text;
};

struct ExportColumn {
    std::string name;
    std::string format;
    py::array data;  // referenced until the last consumer releases
    const void* values = nullptr;
    std::vector<std::uint8_t> packed;  // values of a bool column
    bool has_dictionary = false;
    Dictionary dictionary;
    bool has_nulls = false;
    std::vector<std::uint8_t> validity;
};

struct ExportTable {
    std::vector<ExportColumn> columns;
    std::int64_t n_rows = 0;

    ExportTable() = default;
    ExportTable(const ExportTable&) = delete;
    ExportTable& operator=(const ExportTable&) = delete;

    // Consumers release from any thread, and without the GIL that the arrays need.
    ~ExportTable() {
        const GilTaken gil;
        if (gil.held()) {
            columns.clear();
            return;
        }
        // The interpreter is gone, and its heap with it: leave the arrays alone.
        for (ExportColumn& column : columns) column.data.release();
    }
};

[[noreturn]] void refuse(const std::string& name, const std::string& reason) {
    throw Error(ErrorCode::column_type, "column '" + name + "': " + reason, {{"column", name}});
}

std::vector<std::uint8_t> pack_bits(const bool* values, std::int64_t count) {
    std::vector<std::uint8_t> bits(static_cast<std::size_t>((count + 7) / 8));
    for (std::int64_t i = 0; i < count; ++i) {
        if (values[i]) bits[static_cast<std::size_t>(i >> 3)] |= static_cast<std::uint8_t>(1 << (i & 7));
    }
    return bits;
}

std::int64_t count_zeros(const std::vector<std::uint8_t>& bits, std::int64_t first,
                         std::int64_t count) {
    std::int64_t zeros = 0;
    for (std::int64_t bit = first; bit < first + count;) {
        const std::uint8_t byte = bits[static_cast<std::size_t>(bit >> 3)];
        if ((bit & 7) == 0 && bit + 8 <= first + count) {
            zeros += 8 - std::popcount(byte);
            bit += 8;
        } else {
            zeros += 1 - (byte >> (bit & 7) & 1);
            ++bit;
        }
    }
    return zeros;
}

// The NumPy kinds whose memory has the layout of an Arrow type.
std::string_view numpy_kinds(const Type& type) {
    switch (type.kind) {
        case Kind::boolean: return "b";
        case Kind::integer: return type.is_signed ? "i" : "u";
        case Kind::floating: return "f";
        case Kind::date:
        case Kind::timestamp: return "iM";
        case Kind::time_of_day:
        case Kind::duration: return "im";
        default: return "";
    }
}

std::string unit_text(char unit) {
    if (unit == 'D' || unit == 's') return {unit};
    return {unit, 's'};
}

void check_layout(const ExportColumn& column, const Type& type, std::int64_t n_rows) {
    const py::dtype dtype = column.data.dtype();
    const std::string text = py::str(dtype);
    const bool native = dtype.byteorder() == '=' || dtype.byteorder() == '|';
    const bool fits = native &&
                      numpy_kinds(type).find(dtype.kind()) != std::string_view::npos &&
                      dtype.itemsize() == std::max(type.bits / 8, 1);
    if (!fits) refuse(column.name, "dtype " + text + " does not fit the Arrow format " + column.format);
    const bool has_unit = dtype.kind() == 'M' || dtype.kind() == 'm';
    if (has_unit && text.find("[" + unit_text(type.unit) + "]") == std::string::npos) {
        refuse(column.name, text + " has another unit than the Arrow format " + column.format);
    }
    const bool contiguous = (column.data.flags() & py::array::c_style) != 0;
    if (column.data.ndim() != 1 || !contiguous || column.data.shape(0) != n_rows) {
        refuse(column.name, "expected a contiguous array of " + std::to_string(n_rows) + " rows");
    }
}

Dictionary build_dictionary(const std::string& name, const py::sequence& texts) {
    Dictionary out;
    for (const py::handle text : texts) {
        out.text += text.cast<std::string>();
        if (out.text.size() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
            refuse(name, "a dictionary of more than 2 GiB of text");
        }
        out.offsets.push_back(static_cast<std::int32_t>(out.text.size()));
    }
    return out;
}

void set_validity(ExportColumn& column, const py::handle& mask, std::int64_t n_rows) {
    if (mask.is_none()) return;
    const auto valid = py::array_t<bool, py::array::c_style | py::array::forcecast>::ensure(mask);
    if (!valid || valid.ndim() != 1 || valid.shape(0) != n_rows) {
        PyErr_Clear();
        refuse(column.name, "the mask has another length");
    }
    column.validity = pack_bits(valid.data(), n_rows);
    column.has_nulls = count_zeros(column.validity, 0, n_rows) != 0;
}

ExportColumn read_column(const py::handle& item, std::int64_t n_rows) {
    const auto tuple = py::cast<py::tuple>(item);
    if (tuple.size() != 5) throw py::value_error("expected (name, format, data, dictionary, valid)");
    ExportColumn column;
    column.name = tuple[0].cast<std::string>();
    column.format = tuple[1].cast<std::string>();
    column.data = tuple[2].cast<py::array>();
    const Type type = parse_type(column.format);
    check_layout(column, type, n_rows);
    column.values = column.data.data();
    if (type.kind == Kind::boolean) {
        column.packed = pack_bits(static_cast<const bool*>(column.values), n_rows);
        column.values = column.packed.data();
    }
    if (!tuple[3].is_none()) {
        if (type.kind != Kind::integer) refuse(column.name, "dictionary codes have to be integers");
        column.has_dictionary = true;
        column.dictionary = build_dictionary(column.name, tuple[3].cast<py::sequence>());
    }
    set_validity(column, tuple[4], n_rows);
    return column;
}

Schema column_schema(const std::string& name, const std::string& format, bool has_dictionary) {
    return make_schema(format, name, {}, has_dictionary ? make_schema("u", "") : Schema{});
}

Schema table_schema(const ExportTable& table) {
    std::vector<Schema> children;
    for (const ExportColumn& column : table.columns) {
        children.push_back(column_schema(column.name, column.format, column.has_dictionary));
    }
    return make_schema("+s", "", std::move(children));
}

Array column_array(const std::shared_ptr<const ExportTable>& table, const ExportColumn& column,
                   std::int64_t first, std::int64_t count) {
    Array dictionary;
    if (column.has_dictionary) {
        const Dictionary& texts = column.dictionary;
        const auto size = static_cast<std::int64_t>(texts.offsets.size()) - 1;
        dictionary = make_array(table, {.length = size, .n_buffers = 3},
                                {nullptr, texts.offsets.data(), texts.text.data()});
    }
    const void* validity = column.has_nulls ? column.validity.data() : nullptr;
    const std::int64_t nulls = column.has_nulls ? count_zeros(column.validity, first, count) : 0;
    return make_array(table,
                      {.length = count, .null_count = nulls, .offset = first, .n_buffers = 2},
                      {validity, column.values, nullptr}, {}, dictionary);
}

// One stream that a consumer reads; several streams may share the table.
struct StreamState {
    std::shared_ptr<const ExportTable> table;
    std::int64_t batch_rows = 0;
    std::int64_t next_row = 0;
    bool done = false;
};

StreamState& state_of(Stream* stream) { return *static_cast<StreamState*>(stream->private_data); }

int get_schema(Stream* stream, Schema* out) noexcept {
    try {
        *out = table_schema(*state_of(stream).table);
        return 0;
    } catch (const std::bad_alloc&) {
        return ENOMEM;
    }
}

int get_next(Stream* stream, Array* out) noexcept {
    *out = Array{};
    StreamState& state = state_of(stream);
    if (state.done) return 0;
    try {
        // An empty table still has one batch: some consumers take the types from it.
        const std::int64_t left = state.table->n_rows - state.next_row;
        const std::int64_t count = std::min(left, state.batch_rows);
        std::vector<Array> children;
        children.reserve(state.table->columns.size());
        for (const ExportColumn& column : state.table->columns) {
            children.push_back(column_array(state.table, column, state.next_row, count));
        }
        *out = make_array(state.table, {.length = count, .n_buffers = 1}, {}, std::move(children));
        state.next_row += count;
        state.done = state.next_row >= state.table->n_rows;
        return 0;
    } catch (const std::bad_alloc&) {
        return ENOMEM;
    }
}

const char* get_last_error(Stream*) noexcept { return "out of memory"; }

void release_stream(Stream* stream) noexcept {
    delete static_cast<StreamState*>(stream->private_data);
    stream->release = nullptr;
}

template <typename Struct>
py::capsule make_capsule(Owned<Struct> content, const char* name) {
    auto holder = std::make_unique<Owned<Struct>>(std::move(content));
    // The consumer expects a pointer to the struct itself, which is all that an owner holds.
    static_assert(sizeof(Owned<Struct>) == sizeof(Struct));
    py::capsule capsule(static_cast<void*>(holder.get()), name, [](PyObject* object) {
        void* pointer = PyCapsule_GetPointer(object, PyCapsule_GetName(object));
        delete static_cast<Owned<Struct>*>(pointer);
    });
    (void)holder.release();
    return capsule;
}

}  // namespace

py::capsule export_stream(const py::list& columns, std::int64_t n_rows, std::int64_t batch_rows) {
    if (n_rows < 0 || batch_rows < 0) throw py::value_error("row counts cannot be negative");
    const auto table = std::make_shared<ExportTable>();
    table->n_rows = n_rows;
    for (const py::handle item : columns) table->columns.push_back(read_column(item, n_rows));
    auto state = std::make_unique<StreamState>();
    state->table = table;
    state->batch_rows = batch_rows > 0 ? batch_rows : std::max<std::int64_t>(n_rows, 1);
    Stream stream;
    stream.get_schema = &get_schema;
    stream.get_next = &get_next;
    stream.get_last_error = &get_last_error;
    stream.release = &release_stream;
    stream.private_data = state.release();
    return make_capsule(Owned<Stream>::move_from(stream), "arrow_array_stream");
}

py::capsule export_schema(const py::list& columns) {
    std::vector<Schema> children;
    for (const py::handle item : columns) {
        const auto [name, format, has_dictionary] =
            item.cast<std::tuple<std::string, std::string, bool>>();
        children.push_back(column_schema(name, format, has_dictionary));
    }
    Schema schema = make_schema("+s", "", std::move(children));
    return make_capsule(Owned<Schema>::move_from(schema), "arrow_schema");
}

}  // namespace klineagg::arrow
