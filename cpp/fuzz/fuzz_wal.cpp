// A log with good checksums and hostile contents, or with any bytes: refused with a typed error,
// or read in order, repaired once and for all.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "klineagg/error.hpp"
#include "klineagg/file.hpp"
#include "klineagg/wal/format.hpp"
#include "klineagg/wal/names.hpp"
#include "klineagg/wal/reader.hpp"
#include "klineagg/wal/recovery.hpp"
#include "klineagg/wal/trade_codec.hpp"

using namespace klineagg;
using namespace klineagg::wal;

namespace {

void require(bool truth) {
    if (!truth) std::abort();
}

using Content = std::vector<std::byte>;

class MemoryFile final : public File {
public:
    explicit MemoryFile(std::shared_ptr<Content> content) : content_(std::move(content)) {}

    std::size_t read(std::uint64_t offset, std::span<std::byte> to) override {
        if (offset >= content_->size()) return 0;
        const std::size_t count =
            std::min(to.size(), content_->size() - static_cast<std::size_t>(offset));
        std::memcpy(to.data(), content_->data() + offset, count);
        return count;
    }
    void write(std::uint64_t offset, Bytes from) override {
        require(offset + from.size() <= content_->size());  // a repair writes nothing new
        std::memcpy(content_->data() + offset, from.data(), from.size());
    }
    void allocate(std::uint64_t bytes) override {
        if (content_->size() < bytes) content_->resize(static_cast<std::size_t>(bytes));
    }
    void truncate(std::uint64_t bytes) override {
        content_->resize(static_cast<std::size_t>(bytes));
    }
    void sync() override {}
    std::uint64_t size() override { return content_->size(); }
    bool try_lock() override { return true; }

private:
    std::shared_ptr<Content> content_;
};

class MemoryFiles final : public FileSystem {
public:
    explicit MemoryFiles(bool same_boot) : boot_(same_boot ? "a" : "b") {}

    void put(const std::string& path, Content content) {
        files_[path] = std::make_shared<Content>(std::move(content));
    }
    std::unique_ptr<File> open(const std::string& path, OpenMode) override {
        const auto found = files_.find(path);
        if (found == files_.end()) throw Error(ErrorCode::wal_io, "there is no " + path);
        return std::make_unique<MemoryFile>(found->second);
    }
    void rename(const std::string& from, const std::string& to) override {
        files_[to] = files_.at(from);
        files_.erase(from);
    }
    void remove(const std::string& path) override { require(files_.erase(path) == 1); }
    void make_directory(const std::string&) override {}
    std::vector<std::string> list(const std::string& directory) override {
        std::vector<std::string> names;
        for (const auto& [path, content] : files_) names.push_back(path.substr(directory.size() + 1));
        return names;
    }
    void sync_directory(const std::string&) override {}
    std::string boot_id() override { return boot_; }

private:
    std::map<std::string, std::shared_ptr<Content>> files_;
    std::string boot_;
};

/// Takes numbers and bytes off the input; zeros when it is used up.
class Input {
public:
    Input(const std::uint8_t* data, std::size_t size) : rest_(data, size) {}

    std::uint8_t byte() {
        if (rest_.empty()) return 0;
        const std::uint8_t value = rest_.front();
        rest_ = rest_.subspan(1);
        return value;
    }
    Bytes bytes(std::size_t count) {
        const Bytes taken = std::as_bytes(rest_.first(std::min(count, rest_.size())));
        rest_ = rest_.subspan(taken.size());
        return taken;
    }
    [[nodiscard]] bool is_empty() const { return rest_.empty(); }

private:
    std::span<const std::uint8_t> rest_;
};

/// What can be decoded says the same when it is encoded and decoded again.
void check_trades(Bytes payload) {
    std::vector<LaneRecord> records;
    TradeDecoder decoder;
    if (!decoder.decode(payload, records)) return;
    require(records.size() <= TRADE_BLOCK_ROWS_MAX);
    TradeEncoder encoder;
    std::vector<LaneRecord> again;
    require(decoder.decode(encoder.encode(records), again));
    require(again.size() == records.size());
    require(records.empty() || std::memcmp(again.data(), records.data(),
                                           records.size() * sizeof(LaneRecord)) == 0);
}

/// A segment of frames whose checksums are right, whatever else is.
Content segment(Input& input, Sequence first, std::uint64_t number) {
    SegmentHeader header;
    header.first = first;
    header.number = number;
    header.previous_first = first == 1 ? 0 : 1;
    header.boot[0] = 'a';
    header.sync = SyncMode{static_cast<std::uint8_t>(input.byte() % 3)};
    Content content = segment_block(header);
    const std::uint32_t salt = salt_of(header);
    Sequence next = first;
    for (int frames = input.byte() % 8; frames > 0; --frames) {
        constexpr std::array TOPICS{Topic::trade, Topic::clock,       Topic::command, Topic::names,
                                    Topic::seal,  Topic::application, Topic{77},      Topic::bar};
        const std::uint8_t kind = input.byte();
        FrameHeader frame;
        frame.topic = TOPICS[kind % TOPICS.size()];
        const bool is_records = frame.topic != Topic::names && frame.topic != Topic::seal;
        frame.count = is_records ? input.byte() % 4U : 0;
        frame.sequence = next;
        if ((kind & 0x80U) != 0) frame.sequence += input.byte();  // a hole
        if ((kind & 0x40U) != 0) frame.durable = input.byte();
        if ((kind & 0x20U) != 0) frame.count = input.byte() * 0x01010101U;
        if (frame.topic == Topic::trade) frame.schema = TRADE_SCHEMA;
        const Bytes payload = input.bytes(input.byte());
        const std::size_t at = content.size();
        content.resize(at + frame_bytes(payload.size()));
        write_frame(frame, payload, salt, content.data() + at);
        next = frame.sequence + frame.count;
    }
    content.resize(content.size() + input.byte() * 8U);  // preallocated
    for (int flips = input.byte() % 4; flips > 0; --flips) {
        const std::size_t at = input.byte() * 256U + input.byte();
        content[at % content.size()] ^= std::byte{input.byte()};
    }
    if (input.byte() % 4 == 1) content.resize(content.size() - input.byte() % content.size());
    return content;
}

void read_all(const std::shared_ptr<MemoryFiles>& files, ReadOptions options) {
    try {
        Reader reader(files, "log", options);
        Reader::Frame frame;
        std::vector<Name> names;
        Sequence last = 0;
        // More frames than were ever written would be a loop.
        for (int i = 0; reader.next(frame); ++i) {
            require(i < 64);
            const Sequence first = frame.view.header.sequence + frame.skip;
            require(frame.count > 0 && frame.skip + frame.count <= frame.view.header.count);
            require(first > last);
            last = first + frame.count - 1;
            if (frame.view.header.topic == Topic::trade) check_trades(frame.view.payload);
            (void)read_names(frame.view.payload, names);
        }
        for (const Damage& damage : reader.damages()) (void)damage.error();
    } catch (const Error& error) {
        require(error.code() != ErrorCode::internal);
    }
}

void recover_twice(MemoryFiles& files, bool salvage, bool sync) {
    try {
        const Recovery first = recover(files, "log", salvage);
        repair(files, "log", first, sync);
        const Recovery second = recover(files, "log", salvage);
        require(second.cut_bytes == 0 && second.cut_records == 0);
        require(second.next == first.next && second.blank.empty());
    } catch (const Error& error) {
        require(error.code() != ErrorCode::internal);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    check_trades(std::as_bytes(std::span(data, size)));
    Input input(data, size);
    const std::uint8_t shape = input.byte();
    const auto files = std::make_shared<MemoryFiles>((shape & 1U) != 0);
    files->put("log/" + segment_name(1), segment(input, 1, 1));
    if ((shape & 2U) != 0) {
        const Sequence first = 1U + input.byte() % 16U;
        files->put("log/" + segment_name(first), segment(input, first, 2));
    }
    if ((shape & 4U) != 0) {  // any bytes at all
        const Bytes rest = input.bytes(size);
        files->put("log/" + segment_name(200), Content(rest.begin(), rest.end()));
    }
    ReadOptions options;
    options.is_quiet = true;
    read_all(files, options);
    options.salvage = true;
    options.from = (shape & 8U) != 0 ? 3 : 0;
    read_all(files, options);
    recover_twice(*files, (shape & 16U) != 0, (shape & 32U) != 0);
    options.from = 0;
    read_all(files, options);
    return 0;
}
