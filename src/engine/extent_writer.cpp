#include "engine/extent_writer.hpp"

#include <thread>

#include "canon/sealed_extent.hpp"
#include "io/byte_stream.hpp"

namespace vmad::engine {
namespace {

/// Compressed data that cannot be compressed is longer than it was, by far less than this.
constexpr std::size_t kLargestFrame = canon::kMaxRegionExtent + canon::kMaxRegionExtent / 128;

/// Each thread has one under way, and one may wait for the writer.
unsigned pieces_for(unsigned threads) { return 2 * threads; }

}  // namespace

/// An extent on its way from the assembler to the output.
struct ExtentWriter::Piece {
    AssembledExtent extent;
    LoadedPayload payload;
    std::optional<canon::SealedExtent> sealed;
    std::shared_ptr<base::Buffer> frame;  ///< `sealed`, compressed, when it is to be in a frame of its own
    std::size_t frame_bytes = 0;
    std::uint32_t checksum = 0;  ///< of `sealed`, when it is asked for
    std::uint64_t number = 0;
    std::vector<std::byte> followers;  ///< the extents without payload that follow it in its group
};

ExtentWriter::ExtentWriter(const canon::Layout& layout, Assembler& assembler, PayloadLoader& loader,
                           ArchiveOutput& output, Options options)
    : layout_(layout),
      assembler_(assembler),
      loader_(loader),
      output_(output),
      options_(options),
      frames_(kLargestFrame, vma::kClusterSize, (pieces_for(options_.threads) + 1) * kLargestFrame),
      pieces_(pieces_for(options_.threads)),
      working_(options_.threads) {}

ExtentWriter::~ExtentWriter() = default;

std::uint64_t ExtentWriter::run() {
    std::vector<std::thread> threads;
    std::uint64_t written = 0;
    try {
        write_header(layout_.header());
        for (unsigned i = 0; i < options_.threads; ++i) threads.emplace_back([this] { work(); });
        while (auto piece = pieces_.pop()) {
            options_.cancel.check();
            write(**piece);
            written += 1 + (*piece)->followers.size() / vma::kExtentHeaderSize;
        }
        if (written == layout_.extent_count()) output_.finish();
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
    auto slice = io::const_slice(header);
    const auto encoder = output_.make_encoder();
    has_frames_ = encoder != nullptr;
    if (!has_frames_) {
        output_.append({&slice, 1}, header.size());
        return;
    }
    std::vector<std::byte> frame(encoder->bound(header.size()));
    frame.resize(encoder->encode({&slice, 1}, frame));
    output_.append_header(frame, header.size());
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
        if (encoder != nullptr && piece->sealed->has_payload()) compress(*piece, *encoder);
        pieces_.put(*ticket, std::move(piece));
    }
}

std::unique_ptr<ExtentWriter::Piece> ExtentWriter::seal(AssembledExtent extent) {
    auto piece = std::make_unique<Piece>();
    piece->extent = std::move(extent);
    piece->payload = loader_.complete(piece->extent);
    std::array<canon::StoredCluster, canon::kClustersPerRegion> clusters;
    for (unsigned i = 0; i < piece->extent.plan.cluster_count; ++i)
        clusters[i] = {piece->extent.clusters[i].mask, piece->extent.clusters[i].blocks};
    piece->sealed.emplace(piece->extent.plan, clusters);
    piece->number = piece->extent.number;
    if (options_.checksums != nullptr && piece->sealed->has_payload())
        piece->checksum = canon::extent_checksum(piece->sealed->slices());
    static const std::array<canon::StoredCluster, canon::kClustersPerRegion> kNothing{};
    for (unsigned i = 1; i <= piece->extent.empty_followers; ++i) {
        const auto header = canon::SealedExtent(layout_.plan(piece->number + i), kNothing).header();
        piece->followers.insert(piece->followers.end(), header.begin(), header.end());
    }
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
    if (piece.frame) {
        record(piece,
               output_.append_region({piece.frame->data(), piece.frame_bytes}, piece.sealed->size_bytes()));
    } else {
        if (has_frames_)
            output_.append_empty(piece.number, piece.sealed->header());
        else
            record(piece, output_.append(piece.sealed->slices(), piece.sealed->size_bytes()));
        assembler_.written(piece.extent);
    }
    write_followers(piece);
}

void ExtentWriter::record(const Piece& piece, std::uint64_t stored_offset) {
    if (options_.checksums == nullptr || !piece.sealed->has_payload()) return;
    const auto plan = layout_.plan(piece.number);
    const auto size = static_cast<std::uint32_t>(piece.sealed->size_bytes());
    const auto stored = piece.frame ? static_cast<std::uint32_t>(piece.frame_bytes) : size;
    options_.checksums->add(plan.device_id,
                            {.region = plan.first_cluster / canon::kClustersPerRegion,
                             .content_bytes = size - static_cast<std::uint32_t>(vma::kExtentHeaderSize),
                             .checksum = piece.checksum,
                             .stored_bytes = stored_offset == 0 ? 0 : stored,
                             .stored_offset = stored_offset});
}

void ExtentWriter::write_followers(const Piece& piece) {
    if (piece.followers.empty()) return;
    if (has_frames_) return output_.append_empty(piece.number + 1, piece.followers);
    auto slice = io::const_slice(piece.followers);
    output_.append({&slice, 1}, piece.followers.size());
}

}  // namespace vmad::engine
