#include "segment_writer.hpp"

#include "klineagg/error.hpp"
#include "klineagg/wal/segment.hpp"

namespace klineagg::wal {

SegmentWriter::SegmentWriter(FileSystem& files, std::string directory, const SegmentHeader& header,
                             std::uint64_t bytes)
    : files_(&files),
      directory_(std::move(directory)),
      path_(join_path(directory_, segment_name(header.first))),
      file_(files.open(path_ + std::string(TEMPORARY_SUFFIX), OpenMode::create)),
      bytes_(bytes),
      salt_(salt_of(header)),
      first_(header.first) {
    try {
        file_->allocate(bytes);
        file_->write(0, segment_block(header));
    } catch (const Error&) {
        // No destructor runs: the room that it took would be missed on a full disk.
        try {
            files_->remove(path_ + std::string(TEMPORARY_SUFFIX));
        } catch (const Error&) {  // the next opening removes it
        }
        throw;
    }
}

SegmentWriter::~SegmentWriter() {
    if (published_) return;
    file_.reset();
    try {
        files_->remove(path_ + std::string(TEMPORARY_SUFFIX));
    } catch (const Error&) {  // the next opening removes it
    }
}

void SegmentWriter::publish(bool sync) {
    if (sync) file_->sync();
    files_->rename(path_ + std::string(TEMPORARY_SUFFIX), path_);
    published_ = true;
    if (sync) files_->sync_directory(directory_);
}

void SegmentWriter::write(Bytes bytes) {
    file_->write(end_, bytes);
    end_ += bytes.size();
}

void SegmentWriter::finish() {
    if (end_ < bytes_) file_->truncate(end_);
    bytes_ = end_;
}

}  // namespace klineagg::wal
