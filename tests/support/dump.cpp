#include "support/dump.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <system_error>

#include "support/dump_order.hpp"
#include "support/random.hpp"

namespace vmad::testing {

namespace {

using Write = std::function<void(View)>;

/// Ids 1..n by sorted name, as Proxmox registers them, or any that are different.
DumpDevices number_devices(const Guest& guest, const DumpOptions& options, Random& random) {
    std::vector<const Disk*> sorted;
    for (const auto& disk : guest.disks) sorted.push_back(&disk);
    // Two of one name, which a damaged archive may have, stay in the guest's order.
    std::sort(sorted.begin(), sorted.end(),
              [](auto* a, auto* b) { return a->name != b->name ? a->name < b->name : a < b; });
    std::vector<std::uint8_t> ids(254);
    std::iota(ids.begin(), ids.end(), std::uint8_t{1});
    if (sorted.size() > ids.size()) throw std::invalid_argument("more than 254 disks");
    if (options.scattered_slots) random.shuffle(ids);
    DumpDevices devices;
    for (std::size_t i = 0; i < sorted.size(); ++i) devices[ids[i]] = sorted[i];
    return devices;
}

/// The blob area on its way: the first byte is not used, then blobs.
class BlobArea {
  public:
    explicit BlobArea(Random* slack) : slack_(slack) {}
    /// Appends a blob, after one that nobody names when there shall be slack. Returns the pointer to it.
    std::uint64_t add(View data) {
        if (slack_ != nullptr && slack_->chance(0.5)) {
            Bytes junk(slack_->below(700));
            slack_->fill(junk);
            append(junk);
        }
        return append(data);
    }
    std::uint64_t add_name(const std::string& name) { return add(View(to_bytes(name + '\0'))); }
    Bytes bytes = Bytes(1);

  private:
    std::uint64_t append(View data) {
        if (data.size() > 65535) throw std::invalid_argument("a blob of more than 65535 bytes");
        const std::size_t pointer = bytes.size();
        bytes.resize(pointer + 2);
        put_le(&bytes[pointer], 2, data.size());
        bytes.insert(bytes.end(), data.begin(), data.end());
        return pointer;
    }
    Random* slack_;
};

void scribble_on_reserved(Bytes& header, Random& random) {
    const auto junk = [&](std::size_t at, std::size_t count) {
        random.fill(std::span(header).subspan(at, count));
    };
    junk(header_at::kReserved, header_at::kConfigNames - header_at::kReserved);
    junk(header_at::kReserved2, header_at::kDevices - header_at::kReserved2);
    for (std::size_t at = header_at::kDevices; at < header_at::kEnd; at += header_at::kDeviceBytes) {
        junk(at + 4, 4);
        junk(at + 16, 16);
    }
}

Bytes make_header(const Guest& guest, const DumpDevices& devices, const Uuid& uuid,
                  const DumpOptions& options, Random& random) {
    Bytes header(header_at::kEnd);
    if (guest.configs.size() > 256) throw std::invalid_argument("more than 256 configs");
    std::vector<std::size_t> config_slots(256);
    std::iota(config_slots.begin(), config_slots.end(), 0U);
    if (options.scattered_slots) {
        random.shuffle(config_slots);
        std::sort(config_slots.begin(),
                  config_slots.begin() + static_cast<std::ptrdiff_t>(guest.configs.size()));
    }
    if (options.dirty_reserved) scribble_on_reserved(header, random);

    BlobArea blobs(options.blob_slack ? &random : nullptr);
    for (std::size_t i = 0; i < guest.configs.size(); ++i) {
        const std::size_t entry = 4 * config_slots[i];
        put_be(&header[header_at::kConfigNames + entry], 4, blobs.add_name(guest.configs[i].name));
        put_be(&header[header_at::kConfigData + entry], 4, blobs.add(guest.configs[i].data));
    }
    for (const auto& [id, disk] : devices) {
        std::byte* entry = &header[header_at::kDevices + header_at::kDeviceBytes * id];
        put_be(entry, 4, blobs.add_name(disk->name));
        put_be(entry + header_at::kDeviceSize, 8, disk->size_bytes);
    }
    std::size_t blob_offset = header_at::kEnd;
    if (options.blob_slack) {
        blob_offset += random.below(1500);
        // One byte at the end of the area cannot be a blob; nor can a length that leads out of it.
        const std::size_t ends[] = {0, 1, 2};
        blobs.bytes.insert(blobs.bytes.end(), ends[random.below(std::size(ends))], std::byte{0xff});
    }
    const std::size_t blob_end = blob_offset + blobs.bytes.size();
    const std::size_t slack_sectors = options.blob_slack ? random.below(4) : 0;
    const std::size_t header_size = (blob_end + 511) / 512 * 512 + 512 * slack_sectors;

    header.resize(header_size);
    if (options.blob_slack) random.fill(std::span(header).subspan(header_at::kEnd));
    std::copy(blobs.bytes.begin(), blobs.bytes.end(),
              header.begin() + static_cast<std::ptrdiff_t>(blob_offset));
    std::memcpy(header.data(), "VMA", 4);
    put_be(&header[header_at::kVersion], 4, 1);
    std::copy(uuid.begin(), uuid.end(), &header[header_at::kUuid]);
    put_be(&header[header_at::kCtime], 8, options.ctime);
    put_be(&header[header_at::kBlobOffset], 4, blob_offset);
    put_be(&header[header_at::kBlobSize], 4, blobs.bytes.size());
    put_be(&header[header_at::kHeaderSize], 4, header_size);
    seal(header, header_at::kMd5);
    return header;
}

/// Collects clusters and writes an extent whenever its slots are used up.
class ExtentWriter {
  public:
    ExtentWriter(const Write& write, const DumpDevices& devices, const Uuid& uuid, const DumpOptions& options,
                 Random& random)
        : write_(write), devices_(devices), uuid_(uuid), options_(options), random_(random) {
        data_.reserve(kSlotsPerExtent * kClusterBytes);
    }

    void add(Place place) {
        // A gap uses a slot up like a cluster does.
        while (slots_used_ + 1 < options_.slots_per_extent && random_.chance(options_.slot_gaps)) {
            // A slot of device 0 is not used, whatever else it says.
            if (options_.dirty_reserved)
                Slot{.mask = static_cast<std::uint16_t>(random_.next()),
                     .cluster = static_cast<std::uint32_t>(random_.next())}
                    .store(&head_[extent_at::kSlots + sizeof(std::uint64_t) * slots_used_]);
            ++slots_used_;
        }
        const Disk& disk = *devices_.at(place.device);
        Slot slot{.device = place.device, .cluster = place.cluster};
        const bool skip = stores_no_zeros_ && disk.surely_empty(place.cluster);
        for (unsigned b = 0; !skip && b < kBlocksPerCluster; ++b) {
            if (add_block(disk, std::uint64_t{place.cluster} * kBlocksPerCluster + b)) {
                slot.mask = static_cast<std::uint16_t>(slot.mask | 1U << b);
            }
        }
        if (options_.dirty_reserved) slot.reserved = static_cast<std::uint8_t>(random_.next());
        slot.store(&head_[extent_at::kSlots + sizeof(std::uint64_t) * slots_used_]);
        ++slots_used_;
        if (slots_used_ >= options_.slots_per_extent) flush();
    }

    /// Writes the extent that has begun. An archive without devices has one without slots.
    void finish() {
        if (slots_used_ > 0 || devices_.empty()) flush();
    }

  private:
    bool add_block(const Disk& disk, std::uint64_t index) {
        const std::uint64_t start = index * kBlockBytes;
        const std::size_t old_size = data_.size();
        data_.resize(old_size + kBlockBytes);
        const std::span block = std::span(data_).subspan(old_size);
        disk.read_block(index, block.data());
        bool stored = !all_zero(block);
        if (start < disk.size_bytes) stored = stored || random_.chance(options_.stored_zeros);
        if (options_.dirty_tails && start + kBlockBytes > disk.size_bytes &&
            (stored || random_.chance(0.5))) {
            stored = true;
            random_.fill(block.subspan(start < disk.size_bytes ? disk.size_bytes - start : 0));
        }
        if (!stored) data_.resize(old_size);
        return stored;
    }

    void flush() {
        if (random_.chance(options_.empty_extents)) write_extent(Bytes(extent_at::kEnd), {});
        write_extent(head_, data_);
        head_.assign(extent_at::kEnd, std::byte{0});
        data_.clear();
        slots_used_ = 0;
    }

    void write_extent(Bytes head, View data) {
        std::memcpy(head.data(), "VMAE", 4);
        put_be(&head[extent_at::kBlockCount], 2, data.size() / kBlockBytes);
        std::copy(uuid_.begin(), uuid_.end(), &head[extent_at::kUuid]);
        seal(head, extent_at::kMd5);
        write_(head);
        write_(data);
    }

    const Write& write_;
    const DumpDevices& devices_;
    const Uuid& uuid_;
    const DumpOptions& options_;
    Random& random_;
    const bool stores_no_zeros_ = options_.stored_zeros <= 0 && !options_.dirty_tails;
    Bytes head_ = Bytes(extent_at::kEnd);
    Bytes data_;
    unsigned slots_used_ = 0;  // gaps included
};

}  // namespace

DumpOptions random_dump_options(std::uint64_t seed) {
    Random random(seed);
    const unsigned jitters[] = {0, 2, 16, 430};
    const unsigned slots[] = {1, 7, 57, 58, 58, 58, 59};
    DumpOptions options;
    options.seed = random.next();
    options.jitter = jitters[random.below(std::size(jitters))];
    options.injected = random.chance(0.5) ? 0.05 : 0;
    options.interleave = random.chance(0.3);
    options.shuffle = random.chance(0.3);
    options.slots_per_extent = slots[random.below(std::size(slots))];
    options.slot_gaps = random.chance(0.3) ? 0.2 : 0;
    options.empty_extents = random.chance(0.3) ? 0.2 : 0;
    options.stored_zeros = random.chance(0.3) ? 0.2 : 0;
    options.dirty_tails = random.chance(0.4);
    options.dirty_reserved = random.chance(0.4);
    options.blob_slack = random.chance(0.4);
    options.scattered_slots = random.chance(0.4);
    return options;
}

void dump_to(const Write& write, const Guest& guest, const DumpOptions& options) {
    Random random(options.seed);
    Uuid uuid{};
    random.fill(uuid);
    const DumpDevices devices = number_devices(guest, options, random);
    write(make_header(guest, devices, uuid, options, random));
    ExtentWriter extents(write, devices, uuid, options, random);
    DumpOrder(devices, options, random).walk([&](Place place) { extents.add(place); });
    extents.finish();
}

Bytes dump(const Guest& guest, const DumpOptions& options) {
    Bytes archive;
    dump_to([&](View piece) { archive.insert(archive.end(), piece.begin(), piece.end()); }, guest, options);
    return archive;
}

void write_fully(int fd, View bytes) {
    while (!bytes.empty()) {
        const ssize_t count = ::write(fd, bytes.data(), bytes.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) throw std::system_error(errno, std::generic_category(), "write");
        bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
}

void dump_to(int fd, const Guest& guest, const DumpOptions& options) {
    dump_to([fd](View piece) { write_fully(fd, piece); }, guest, options);
}

}  // namespace vmad::testing
