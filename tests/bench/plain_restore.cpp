// plain-restore DIR < ARCHIVE: restores disks as Proxmox's reader does (vma-reader.c of pve-qemu), to time
// that.
//
// Like it: one buffer for the largest extent, filled up before each extent and moved down behind it; a
// checksum over each extent header; a write for each whole cluster, else for each block. Checks no more than
// it needs for that.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include <md5.h>

namespace {

constexpr std::size_t kBlock = 4096, kCluster = 65536, kSlots = 59;
constexpr std::size_t kFixedHeader = 12288, kDevices = 4096, kDeviceEntry = 32;
constexpr std::size_t kExtentHeader = 512, kExtentMd5 = 24, kExtentSlots = 40;
constexpr unsigned kWholeCluster = 0xffff;

using Byte = unsigned char;

std::uint64_t be(const Byte* at, std::size_t bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) value = value << 8U | at[i];
    return value;
}

void require(bool condition, const char* what) {
    if (!condition) throw std::runtime_error(what);
}

/// Returns less than `size` at the end of the input only.
std::size_t full_read(Byte* into, std::size_t size) {
    std::size_t done = 0;
    while (done < size) {
        const ssize_t count = ::read(STDIN_FILENO, into + done, size - done);
        require(count >= 0, "read failed");
        if (count == 0) break;
        done += static_cast<std::size_t>(count);
    }
    return done;
}

struct Disk {
    int fd = -1;
    std::uint64_t size = 0;

    void write(const Byte* from, std::uint64_t offset, std::size_t size_bytes) const {
        require(fd >= 0 && offset < size, "no such place");
        const auto count = std::min<std::uint64_t>(size_bytes, size - offset);
        require(::pwrite(fd, from, count, static_cast<off_t>(offset)) == static_cast<ssize_t>(count),
                "write failed");
    }
};

using Disks = std::array<Disk, 256>;

/// Reads the header and makes a sparse file of each disk.
Disks open_disks(const std::string& directory) {
    std::vector<Byte> header(kFixedHeader);
    require(full_read(header.data(), kFixedHeader) == kFixedHeader, "short header");
    require(std::memcmp(header.data(), "VMA", 4) == 0, "not an archive");
    const auto blobs = be(&header[48], 4), size = be(&header[56], 4);
    require(size >= kFixedHeader && size <= 1U << 28U && blobs < size, "bad header");
    header.resize(size);
    require(full_read(&header[kFixedHeader], size - kFixedHeader) == size - kFixedHeader, "short header");
    Disks disks;
    for (std::size_t id = 1; id < disks.size(); ++id) {
        const Byte* entry = &header[kDevices + kDeviceEntry * id];
        disks[id].size = be(entry + 8, 8);
        if (disks[id].size == 0) continue;
        const auto name = blobs + be(entry, 4) + 2;
        require(name < size, "bad name");
        const std::string path = directory + '/' + reinterpret_cast<const char*>(&header[name]) + ".raw";
        disks[id].fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        require(disks[id].fd >= 0 && ::ftruncate(disks[id].fd, static_cast<off_t>(disks[id].size)) == 0,
                "cannot make a disk");
    }
    return disks;
}

void check_md5(Byte* extent) {
    std::array<Byte, 16> stored{};
    std::memcpy(stored.data(), extent + kExtentMd5, stored.size());
    std::memset(extent + kExtentMd5, 0, stored.size());
    std::array<Byte, 16> computed{};
    MD5_CTX context;
    MD5Init(&context);
    MD5Update(&context, extent, kExtentHeader);
    MD5Final(computed.data(), &context);
    require(stored == computed, "bad extent checksum");
}

/// Returns where its payload ends.
const Byte* restore_cluster(const Disks& disks, std::uint64_t slot, const Byte* payload) {
    const Disk& disk = disks[slot >> 32U & 0xffU];
    const auto mask = static_cast<unsigned>(slot >> 48U);
    const auto offset = (slot & 0xffffffffU) * kCluster;
    if (mask == kWholeCluster) {
        disk.write(payload, offset, kCluster);
        return payload + kCluster;
    }
    for (unsigned block = 0; block < kCluster / kBlock; ++block) {
        if ((mask >> block & 1U) == 0) continue;
        disk.write(payload, offset + block * kBlock, kBlock);
        payload += kBlock;
    }
    return payload;
}

void restore(const std::string& directory) {
    const Disks disks = open_disks(directory);
    std::vector<Byte> buffer(kExtentHeader + kSlots * kCluster);
    std::size_t held = 0;
    while (true) {
        held += full_read(&buffer[held], buffer.size() - held);
        if (held == 0) return;
        require(held >= kExtentHeader && std::memcmp(buffer.data(), "VMAE", 4) == 0, "not an extent");
        const std::size_t size = kExtentHeader + be(&buffer[6], 2) * kBlock;
        require(held >= size, "short extent");
        check_md5(buffer.data());
        const Byte* payload = &buffer[kExtentHeader];
        for (std::size_t i = 0; i < kSlots; ++i) {
            const auto slot = be(&buffer[kExtentSlots + 8 * i], 8);
            if ((slot >> 32U & 0xffU) != 0) payload = restore_cluster(disks, slot, payload);
        }
        require(payload == buffer.data() + size, "bad block count");
        held -= size;
        std::memmove(buffer.data(), buffer.data() + size, held);
    }
}

}  // namespace

int main(int argc, char** argv) {
    try {
        require(argc == 2, "usage: plain-restore DIR < ARCHIVE");
        restore(argv[1]);
        return 0;
    } catch (const std::exception& error) {
        std::cerr << "plain-restore: " << error.what() << '\n';
        return 1;
    }
}
