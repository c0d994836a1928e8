#include "engine/extent_writer.hpp"

#include <thread>

#include "canon/sealed_extent.hpp"

namespace vmad::engine {
namespace {

constexpr std::size_t kMaxExtent = vma::kExtentHeaderSize + vma::kMaxExtentPayload;
/// Compressed data that cannot be compressed is longer than it was, by far less than this.
constexpr std::size_t kLargestFrame = kMaxExtent + kMaxExtent / 128;

/// Each thread has one under way, and one may wait for the writer.
unsigned pieces_for(unsigned threads) { return 2 * threads; }

}  // namespace

/// An extent on its way from the assembler to the output.
struct ExtentWriter::Piece {
    AssembledExtent extent;
    LoadedPayload payload;
    std::optional<canon::SealedExtent> sealed;
    std::shared_ptr<base::Buffer> frame;  ///< `sealed`, compressed; none in a format without frames
    std::size_t frame_bytes = 0;
};

ExtentWriter::ExtentWriter(Assembler& assembler, PayloadLoader& loader, ArchiveOutput& output,
                           Options options)
    : assembler_(assembler),
      loader_(loader),
      output_(output),
      options_(std::move(options)),
      frames_(kLargestFrame, vma::kClusterSize, (pieces_for(options_.threads) + 1) * kLargestFrame),
      pieces_(pieces_for(options_.threads)),
      working_(options_.threads) {}

ExtentWriter::~ExtentWriter() = default;

std::uint64_t ExtentWriter::run(const canon::Layout& layout) {
    std::vector<std::thread> threads;
    std::uint64_t written = 0;
    try {
        write_header(layout.header());
        for (unsigned i = 0; i < options_.threads; ++i) threads.emplace_back([this] { work(); });
        while (auto piece = pieces_.pop()) {
            options_.cancel.check();
            write(**piece);
            ++written;
        }
        if (written == layout.extent_count()) output_.finish();
    } catch (...) {
        fail();
    }
    for (auto& thread : threads) thread.join();
    error_.rethrow();
    return written;
}

void ExtentWriter::fail() noexcept {
    error_.capture();
    assembler_.abort();
    pieces_.abort();
}

void ExtentWriter::write_header(const std::vector<std::byte>& header) {
    iovec slice{const_cast<std::byte*>(header.data()), header.size()};  // writing leaves the bytes alone
    const auto encoder = output_.make_encoder();
    if (!encoder) return output_.append({&slice, 1}, header.size());
    std::vector<std::byte> frame(encoder->bound(header.size()));
    frame.resize(encoder->encode({&slice, 1}, frame));
    output_.append_frame(frame, header.size());
}

void ExtentWriter::work() {
    try {
        prepare(output_.make_encoder().get());
    } catch (...) {
        fail();
    }
    if (--working_ == 0) pieces_.close();
}

void ExtentWriter::prepare(codec::FrameEncoder* encoder) {
    for (;;) {
        std::optional<AssembledExtent> extent;
        std::optional<std::uint64_t> ticket;
        {
            const std::lock_guard lock(order_);
            extent = assembler_.next();
            if (extent) ticket = pieces_.take_ticket();
        }
        if (!ticket) return;
        auto piece = seal(std::move(*extent));
        if (encoder != nullptr) compress(*piece, *encoder);
        pieces_.put(*ticket, std::move(piece));
    }
}

std::unique_ptr<ExtentWriter::Piece> ExtentWriter::seal(AssembledExtent extent) {
    auto piece = std::make_unique<Piece>();
    piece->extent = std::move(extent);
    piece->payload = loader_.complete(piece->extent);
    std::array<canon::StoredCluster, vma::kSlotsPerExtent> clusters;
    for (unsigned i = 0; i < piece->extent.plan.cluster_count; ++i)
        clusters[i] = {piece->extent.clusters[i].mask, piece->extent.clusters[i].blocks};
    piece->sealed.emplace(piece->extent.plan, clusters);
    return piece;
}

void ExtentWriter::compress(Piece& piece, codec::FrameEncoder& encoder) {
    const auto size = static_cast<std::size_t>(piece.sealed->size_bytes());
    piece.frame = frames_.get(encoder.bound(size));
    piece.frame_bytes =
        encoder.encode(piece.sealed->slices(), {piece.frame->data(), piece.frame->capacity()});
    // Only the frame is needed from here on.
    assembler_.written(piece.extent);
    piece.extent = {};
    piece.payload = {};
}

void ExtentWriter::write(Piece& piece) {
    if (piece.frame)
        return output_.append_frame({piece.frame->data(), piece.frame_bytes}, piece.sealed->size_bytes());
    output_.append(piece.sealed->slices(), piece.sealed->size_bytes());
    assembler_.written(piece.extent);
}

}  // namespace vmad::engine
