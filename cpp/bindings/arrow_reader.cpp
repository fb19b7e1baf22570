#include "arrow_reader.hpp"

#include <cstring>
#include <utility>

#include "gil.hpp"
#include "klineagg/error.hpp"

namespace py = pybind11;

namespace klineagg::arrow {
namespace {

constexpr const char* STREAM_NAME = "arrow_array_stream";
constexpr const char* SCHEMA_NAME = "arrow_schema";
constexpr const char* ARRAY_NAME = "arrow_array";

template <typename Struct>
Owned<Struct> take(const py::capsule& capsule, const char* name) {
    const char* actual = capsule.name();
    if (actual == nullptr || std::strcmp(actual, name) != 0) {
        throw Error(ErrorCode::unsupported_input,
                    std::string("expected a capsule named '") + name + "', got '" +
                        (actual != nullptr ? actual : "") + "'");
    }
    auto* content = capsule.get_pointer<Struct>();
    if (content->release == nullptr) {
        throw Error(ErrorCode::unsupported_input,
                    std::string("the capsule '") + name + "' was already read");
    }
    return Owned<Struct>::move_from(*content);
}

}  // namespace

std::unique_ptr<Reader> Reader::open(const py::object& source) {
    auto reader = std::make_unique<Reader>();
    if (py::isinstance<py::capsule>(source)) {
        reader->open_stream(py::reinterpret_borrow<py::capsule>(source));
        return reader;
    }
    if (py::isinstance<py::tuple>(source)) {
        const auto pair = py::reinterpret_borrow<py::tuple>(source);
        if (pair.size() == 2 && py::isinstance<py::capsule>(pair[0]) &&
            py::isinstance<py::capsule>(pair[1])) {
            reader->open_pair(py::reinterpret_borrow<py::capsule>(pair[0]),
                              py::reinterpret_borrow<py::capsule>(pair[1]));
            return reader;
        }
    }
    throw Error(ErrorCode::unsupported_input,
                "expected what __arrow_c_stream__ or __arrow_c_array__ returns");
}

Reader::~Reader() {
    if (!stream_.filled()) return;
    // A producer may wait for its own threads, and they for the GIL.
    const GilReleased unlocked;
    stream_.reset();
}

void Reader::open_stream(const py::capsule& capsule) {
    stream_ = take<Stream>(capsule, STREAM_NAME);
    auto schema = std::make_shared<Owned<Schema>>();
    int code = 0;
    {
        const GilReleased unlocked;
        code = stream_->get_schema(&*stream_, &**schema);
    }
    if (code != 0) fail(code);
    schema_ = std::move(schema);
}

void Reader::open_pair(const py::capsule& schema, const py::capsule& array) {
    schema_ = std::make_shared<Owned<Schema>>(take<Schema>(schema, SCHEMA_NAME));
    single_ = take<Array>(array, ARRAY_NAME);
}

Owned<Array> Reader::pull() {
    // The GIL first, the mutex second: a thread that waits for the mutex must not hold the GIL,
    // since the one inside the producer may need it.
    const GilReleased unlocked;
    const std::lock_guard lock(mutex_);
    Owned<Array> array;
    if (single_.filled()) {
        array = std::move(single_);
    } else if (stream_.filled()) {
        const int code = stream_->get_next(&*stream_, &*array);
        if (code != 0) fail(code);
        if (!array.filled()) stream_.reset();
    }
    return array;
}

void Reader::fail(int code) {
    const char* message = stream_->get_last_error(&*stream_);
    const std::string text = message != nullptr ? message : std::strerror(code);
    stream_.reset();  // after an error a stream has nothing more to give
    throw Error(ErrorCode::stream_failed, "the producer of the Arrow stream failed: " + text,
                {{"errno", std::to_string(code)}, {"producer_message", text}});
}

std::optional<std::vector<Column>> Reader::next() {
    auto batch = std::make_shared<Batch>();
    batch->array = pull();
    if (!batch->array.filled()) return std::nullopt;
    batch->schema = schema_;
    return columns_of(batch);
}

bool Reader::is_table() const {
    const Schema& schema = **schema_;
    return schema.dictionary == nullptr && schema.format != nullptr &&
           parse_type(schema.format).kind == Kind::structure;
}

std::vector<std::string> Reader::names() const {
    const Schema& schema = **schema_;
    std::vector<std::string> names;
    for (std::int64_t i = 0; is_table() && i < schema.n_children; ++i) {
        const char* name = schema.children[i]->name;
        names.emplace_back(name != nullptr ? name : "");
    }
    return names;
}

std::vector<Column> Reader::columns_of(const std::shared_ptr<const Batch>& batch) const {
    const Schema& schema = **schema_;
    const Array& array = *batch->array;
    std::vector<Column> columns;
    if (!is_table()) {
        columns.emplace_back(batch, schema, array, 0, array.length);
        return columns;
    }
    if (array.n_children != schema.n_children) {
        throw Error(ErrorCode::unsupported_input,
                    "the Arrow producer's batch does not fit its schema",
                    {{"reason", "malformed"}});
    }
    Validity rows;  // a struct array used as a table may have null rows
    if (array.null_count != 0 && array.n_buffers > 0) {
        rows = {static_cast<const std::uint8_t*>(array.buffers[0]), array.offset};
    }
    for (std::int64_t i = 0; i < array.n_children; ++i) {
        columns.emplace_back(batch, *schema.children[i], *array.children[i], array.offset,
                             array.length, rows);
    }
    return columns;
}

}  // namespace klineagg::arrow
