// Batches out of Arrow PyCapsules.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "arrow_column.hpp"
#include "klineagg/arrow_c.hpp"

namespace klineagg::arrow {

/// Iterates over the batches of an "arrow_array_stream" capsule, or over the one batch of an
/// ("arrow_schema", "arrow_array") pair. Takes the content out of the capsules.
class Reader {
public:
    static std::unique_ptr<Reader> open(const pybind11::object& source);

    Reader() = default;
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;
    ~Reader();

    /// The columns of the next batch; nothing at the end. Data that is not a table is one column.
    std::optional<std::vector<Column>> next();

    [[nodiscard]] bool is_table() const;
    [[nodiscard]] std::vector<std::string> names() const;
    [[nodiscard]] std::string type() const { return type_name(**schema_); }

private:
    void open_stream(const pybind11::capsule& capsule);
    void open_pair(const pybind11::capsule& schema, const pybind11::capsule& array);
    [[nodiscard]] Owned<Array> pull();
    [[noreturn]] void fail(int code);
    [[nodiscard]] std::vector<Column> columns_of(const std::shared_ptr<const Batch>& batch) const;

    std::mutex mutex_;  // the interface allows one call into a stream at a time
    Owned<Stream> stream_;
    Owned<Array> single_;
    std::shared_ptr<const Owned<Schema>> schema_;
};

}  // namespace klineagg::arrow
