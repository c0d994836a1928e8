// Locks the process in before it reads what a guest wrote: a parser that is turned against us can use the
// memory and the descriptors that it has, and nothing else of the system.
#pragma once

namespace vmad::guest {

/// From here on this process, and each thread that it starts, opens no file, socket, process or program, and
/// has neither root's rights nor more than kMaxMemoryBytes beyond what it has now. What is open can be read
/// and written. Throws base::SystemError.
void confine();

}  // namespace vmad::guest
