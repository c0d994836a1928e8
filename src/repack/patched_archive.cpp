#include "repack/patched_archive.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "canon/sealed_extent.hpp"

namespace vmad::repack {
namespace {

using Bytes = std::vector<std::byte>;

std::uint32_t checksum_of(const Bytes& extent) {
    const auto slice = io::const_slice(extent);
    return canon::extent_checksum({&slice, 1});
}

/// The archive as it should be, uncompressed: what is whole of it, the choices, and what follows from the
/// layout alone.
class PatchedSource final : public io::ByteSource {
  public:
    PatchedSource(const DamagedArchive& patient, const io::File& file, const RegionChoices& choices,
                  RepairDonors& donors)
        : patient_(patient),
          choices_(choices),
          donors_(donors),
          reader_(patient.fs, file, patient.format),
          file_bytes_(static_cast<std::uint64_t>(patient.fs.status(file).st_size)),
          bytes_(patient.layout.header()) {}

    [[nodiscard]] std::size_t read(std::span<iovec> into) override {
        std::size_t done = 0;
        for (const auto& slice : into) {
            std::span room(static_cast<std::byte*>(slice.iov_base), slice.iov_len);
            while (!room.empty()) {
                if (used_ == bytes_.size() && !load()) return done;
                const auto count = std::min(room.size(), bytes_.size() - used_);
                std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(used_), count, room.begin());
                used_ += count;
                done += count;
                room = room.subspan(count);
            }
        }
        return done;
    }
    [[nodiscard]] std::optional<std::uint64_t> size_bytes() const override { return std::nullopt; }
    [[nodiscard]] io::SourceProgress progress() const override { return {stored_bytes_, file_bytes_}; }

  private:
    bool load() {
        if (number_ == patient_.layout.extent_count()) return false;
        used_ = 0;
        const auto& whole = patient_.found->whole;
        while (piece_ < whole.size() && whole[piece_].number < number_) ++piece_;
        if (piece_ < whole.size() && whole[piece_].number == number_) {
            bytes_ = reader_.read(whole[piece_]);
            stored_bytes_ = whole[piece_].stored_offset + whole[piece_].stored_bytes;
            number_ += whole[piece_].count;
            return true;
        }
        const auto choice = choices_.find(number_);
        bytes_ = choice == choices_.end() ? empty_extent() : chosen(choice->second);
        ++number_;
        return true;
    }

    [[nodiscard]] Bytes empty_extent() const {
        const auto plan = patient_.layout.plan(number_);
        const std::vector<canon::StoredCluster> clusters(plan.cluster_count);
        const canon::SealedExtent extent(plan, clusters);
        return {extent.header().begin(), extent.header().end()};
    }

    [[nodiscard]] Bytes chosen(const RegionChoice& choice) {
        if (choice.from == RegionChoice::From::zeros) return empty_extent();
        Bytes extent;
        if (choice.from == RegionChoice::From::itself) {
            for (const auto& extents : patient_.found->doubtful)
                if (extents.number == number_) extent = reader_.read(extents);
        } else {
            const auto plan = patient_.layout.plan(number_);
            const auto* device = patient_.header.device(plan.device_id);
            extent = donors_.extent(choice.donor, device->name, plan).value_or(Bytes());
        }
        if (extent.size() != choice.bytes || checksum_of(extent) != choice.checksum)
            throw base::Error(fmt::format(
                "{} was changed, or went bad, while a region was taken from it",
                choice.from == RegionChoice::From::donor ? donors_.path(choice.donor) : "the archive"));
        return extent;
    }

    const DamagedArchive& patient_;
    const RegionChoices& choices_;
    RepairDonors& donors_;
    access::FoundExtentReader reader_;
    std::uint64_t file_bytes_;
    std::uint64_t stored_bytes_ = 0;
    Bytes bytes_;               ///< that are handed out
    std::size_t used_ = 0;      ///< of these
    std::uint64_t number_ = 0;  ///< of the next extent
    std::size_t piece_ = 0;
};

}  // namespace

std::unique_ptr<io::ByteSource> open_patched(const DamagedArchive& archive, const io::File& file,
                                             const RegionChoices& choices, RepairDonors& donors) {
    return std::make_unique<PatchedSource>(archive, file, choices, donors);
}

}  // namespace vmad::repack
