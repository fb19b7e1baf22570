// Nodes of exported Arrow schemas and arrays: each owns what it points to, so that a consumer may
// move a child out of its parent and release the two in any order.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "klineagg/arrow_c.hpp"

namespace klineagg::arrow {

struct SchemaNode {
    std::string format;
    std::string name;
    std::vector<Schema> children;
    std::vector<Schema*> child_pointers;
    Schema dictionary;
};

struct ArrayNode {
    std::shared_ptr<const void> keep;  // the memory behind the buffers
    std::array<const void*, 3> buffers{};
    std::vector<Array> children;
    std::vector<Array*> child_pointers;
    Array dictionary;
};

/// The release callback of a struct whose private data is a `Node`. Needs no GIL.
template <typename Struct, typename Node>
void release_node(Struct* item) {
    auto* node = static_cast<Node*>(item->private_data);
    for (Struct& child : node->children) {
        if (child.release != nullptr) child.release(&child);  // null: moved out by the consumer
    }
    if (node->dictionary.release != nullptr) node->dictionary.release(&node->dictionary);
    delete node;
    item->release = nullptr;
}

/// Points `out` at `node`, which it owns from now on.
template <typename Struct, typename Node>
void bind_node(Struct& out, std::unique_ptr<Node> node) {
    for (Struct& child : node->children) node->child_pointers.push_back(&child);
    out.n_children = static_cast<std::int64_t>(node->children.size());
    out.children = node->children.empty() ? nullptr : node->child_pointers.data();
    out.dictionary = node->dictionary.release != nullptr ? &node->dictionary : nullptr;
    out.release = &release_node<Struct, Node>;
    out.private_data = node.release();
}

inline Schema make_schema(std::string format, std::string name, std::vector<Schema> children = {},
                          Schema dictionary = {}) {
    auto node = std::make_unique<SchemaNode>();
    node->format = std::move(format);
    node->name = std::move(name);
    node->children = std::move(children);
    node->dictionary = dictionary;
    Schema out;
    out.format = node->format.c_str();
    out.name = node->name.c_str();
    // Always nullable: results with and without missing times can then be put together.
    out.flags = FLAG_NULLABLE;
    bind_node(out, std::move(node));
    return out;
}

struct ArrayShape {
    std::int64_t length = 0;
    std::int64_t null_count = 0;
    std::int64_t offset = 0;
    std::int64_t n_buffers = 0;
};

inline Array make_array(std::shared_ptr<const void> keep, const ArrayShape& shape,
                        std::array<const void*, 3> buffers, std::vector<Array> children = {},
                        Array dictionary = {}) {
    auto node = std::make_unique<ArrayNode>();
    node->keep = std::move(keep);
    node->buffers = buffers;
    node->children = std::move(children);
    node->dictionary = dictionary;
    Array out;
    out.length = shape.length;
    out.null_count = shape.null_count;
    out.offset = shape.offset;
    out.n_buffers = shape.n_buffers;
    out.buffers = node->buffers.data();
    bind_node(out, std::move(node));
    return out;
}

}  // namespace klineagg::arrow
