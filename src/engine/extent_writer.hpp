// Seals, compresses and writes the extents of the canonical layout as the assembler completes them.
//
// Threads of its own take extents in order, get back what was spilled, seal and compress them; the caller's
// thread writes, in order. Few are under way at a time.
#pragma once

#include "access/checksum_store.hpp"
#include "base/task.hpp"
#include "base/threads.hpp"
#include "engine/archive_output.hpp"
#include "engine/assembler.hpp"
#include "engine/payload_loader.hpp"

namespace vmad::engine {

class ExtentWriter {
  public:
    struct Options {
        unsigned threads = 1;
        const base::CancelFlag& cancel;
        access::ChecksumRecording* checksums = nullptr;  ///< is given those of the regions; may be null
    };

    /// All arguments outlive this object.
    ExtentWriter(const canon::Layout& layout, Assembler& assembler, PayloadLoader& loader,
                 ArchiveOutput& output, Options options);
    ~ExtentWriter();

    /// Writes the header, and then extents until the assembler hands out no more; then what ends the archive,
    /// if they were all. Returns how many extents there were. Throws the first error of any thread, after it
    /// has aborted the assembler and joined its threads.
    std::uint64_t run();

  private:
    struct Piece;

    void write_header(const std::vector<std::byte>& header);
    void work();
    void prepare(codec::FrameEncoder* encoder);
    [[nodiscard]] std::unique_ptr<Piece> seal(AssembledExtent extent);
    void compress(Piece& piece, codec::FrameEncoder& encoder);
    void write(Piece& piece);
    void record(const Piece& piece, std::uint64_t stored_offset);
    void write_followers(const Piece& piece);
    void fail() noexcept;

    const canon::Layout& layout_;
    Assembler& assembler_;
    PayloadLoader& loader_;
    ArchiveOutput& output_;
    Options options_;
    bool has_frames_ = false;
    base::BufferPool frames_;
    std::mutex order_;  ///< an extent and its ticket are taken together
    base::OrderedResults<std::unique_ptr<Piece>> pieces_;
    base::FirstError error_;
    std::atomic<unsigned> working_;
};

}  // namespace vmad::engine
