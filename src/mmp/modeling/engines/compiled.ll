; Trees for many rows at once: what `compiled.py` fills in ($$) and has made into machine code.
; Rows go through in tiles of $rows. A value of a row becomes a byte once, its rank among the thresholds of
; its column; from then on, one split is asked of all rows of a tile at a time, and each answer is a byte.

%column = type { i32, $number }        ; feature, what a missing value counts as
%split = type { i32, i8, i8, i8, i8 }  ; column, bits that count, least byte that goes right, from, to
%tree = type { i32, i32, i32 }         ; end of its splits, first leaf, group

declare i16 @llvm.ctpop.i16(i16)
declare <16 x $number> @llvm.masked.gather(<16 x ptr>, i32, <16 x i1>, <16 x $number>)
declare $number @$exp($number)

; matrix: number[rows][features]; thresholds: number[columns][17][16]; bytes: i8[columns][256], from ranks
; scratch: i8[columns][$rows]; margins: number[groups][stride], begun with the margins of no tree
define void @margins_$rows(ptr noalias %matrix, i64 %n_rows, i64 %n_features, ptr noalias %columns,
    ptr noalias %thresholds, ptr noalias %bytes, i64 %n_columns, ptr noalias %splits, ptr noalias %trees,
    i64 %n_trees, ptr noalias %leaves, ptr noalias %scratch, ptr noalias %margins, i64 %stride) {
entry:
  %codes = alloca [$rows x i8], align 64
  br label %tile

tile:
  %first = phi i64 [ 0, %entry ], [ %next_first, %tile_end ]
  %left = sub i64 %n_rows, %first
  %is_last = icmp ule i64 %left, $rows
  %here = select i1 %is_last, i64 %left, i64 $rows
  %above = mul i64 %first, %n_features
  %corner = getelementptr $number, ptr %matrix, i64 %above
  br label %column

column:
  %c = phi i64 [ 0, %tile ], [ %next_c, %column_end ]
  %feature_at = getelementptr %column, ptr %columns, i64 %c, i32 0
  %feature = load i32, ptr %feature_at
  %missing_at = getelementptr %column, ptr %columns, i64 %c, i32 1
  %missing = load $number, ptr %missing_at
  %cells = getelementptr $number, ptr %corner, i32 %feature
  %coarse_at = getelementptr [17 x <16 x $number>], ptr %thresholds, i64 %c
  %coarse = load <16 x $number>, ptr %coarse_at, align 64
  %fines = getelementptr <16 x $number>, ptr %coarse_at, i64 1
  %own_bytes = getelementptr [256 x i8], ptr %bytes, i64 %c
  %own_scratch = getelementptr [$rows x i8], ptr %scratch, i64 %c
  br label %row

; the rank: sixteen thresholds tell in which sixteen it is, and those tell the rest
row:
  %r = phi i64 [ 0, %column ], [ %next_r, %row ]
  %cell = mul i64 %r, %n_features
  %cell_at = getelementptr $number, ptr %cells, i64 %cell
  %stored = load $number, ptr %cell_at
  %is_missing = fcmp uno $number %stored, 0.0
  %value = select i1 %is_missing, $number %missing, $number %stored
  %value_0 = insertelement <16 x $number> poison, $number %value, i32 0
  %values = shufflevector <16 x $number> %value_0, <16 x $number> poison, <16 x i32> zeroinitializer
  %coarse_is = fcmp $right <16 x $number> %values, %coarse
  %coarse_bits = bitcast <16 x i1> %coarse_is to i16
  %sixteens = call i16 @llvm.ctpop.i16(i16 %coarse_bits)
  %fine_at = getelementptr <16 x $number>, ptr %fines, i16 %sixteens
  %fine = load <16 x $number>, ptr %fine_at, align 64
  %fine_is = fcmp $right <16 x $number> %values, %fine
  %fine_bits = bitcast <16 x i1> %fine_is to i16
  %ones = call i16 @llvm.ctpop.i16(i16 %fine_bits)
  %tens = shl i16 %sixteens, 4
  %rank = add i16 %tens, %ones
  %byte_at = getelementptr i8, ptr %own_bytes, i16 %rank
  %byte = load i8, ptr %byte_at
  %scratch_at = getelementptr i8, ptr %own_scratch, i64 %r
  store i8 %byte, ptr %scratch_at
  %next_r = add i64 %r, 1
  %more_rows = icmp ult i64 %next_r, %here
  br i1 %more_rows, label %row, label %column_end

column_end:
  %next_c = add i64 %c, 1
  %more_columns = icmp ult i64 %next_c, %n_columns
  br i1 %more_columns, label %column, label %tree

tree:
  %t = phi i64 [ 0, %column_end ], [ %next_t, %tree_end ]
  %begin = phi i32 [ 0, %column_end ], [ %end, %tree_end ]
  %end_at = getelementptr %tree, ptr %trees, i64 %t, i32 0
  %end = load i32, ptr %end_at
  %leaf_at = getelementptr %tree, ptr %trees, i64 %t, i32 1
  %first_leaf = load i32, ptr %leaf_at
  %group_at = getelementptr %tree, ptr %trees, i64 %t, i32 2
  %group32 = load i32, ptr %group_at
  %group = zext i32 %group32 to i64
  %is_split = icmp ult i32 %begin, %end
  br i1 %is_split, label %split, label %tree_leaves

; a row that is at the split (its code is the first leaf below) and goes right gets the first leaf on the right
split:
  %s = phi i32 [ %begin, %tree ], [ %next_s, %split ]
  %code = phi <$rows x i8> [ zeroinitializer, %tree ], [ %next_code, %split ]
  %split_at = getelementptr %split, ptr %splits, i32 %s
  %split_column = load i32, ptr %split_at
  %bits_at = getelementptr %split, ptr %splits, i32 %s, i32 1
  %bits = load i8, ptr %bits_at
  %least_at = getelementptr %split, ptr %splits, i32 %s, i32 2
  %least = load i8, ptr %least_at
  %from_at = getelementptr %split, ptr %splits, i32 %s, i32 3
  %from = load i8, ptr %from_at
  %to_at = getelementptr %split, ptr %splits, i32 %s, i32 4
  %to = load i8, ptr %to_at
  %own_at = getelementptr [$rows x i8], ptr %scratch, i32 %split_column
  %own = load <$rows x i8>, ptr %own_at, align 64
  %bits_0 = insertelement <$rows x i8> poison, i8 %bits, i32 0
  %all_bits = shufflevector <$rows x i8> %bits_0, <$rows x i8> poison, <$rows x i32> zeroinitializer
  %least_0 = insertelement <$rows x i8> poison, i8 %least, i32 0
  %all_least = shufflevector <$rows x i8> %least_0, <$rows x i8> poison, <$rows x i32> zeroinitializer
  %from_0 = insertelement <$rows x i8> poison, i8 %from, i32 0
  %all_from = shufflevector <$rows x i8> %from_0, <$rows x i8> poison, <$rows x i32> zeroinitializer
  %to_0 = insertelement <$rows x i8> poison, i8 %to, i32 0
  %all_to = shufflevector <$rows x i8> %to_0, <$rows x i8> poison, <$rows x i32> zeroinitializer
  %counted = and <$rows x i8> %own, %all_bits
  %is_right = icmp uge <$rows x i8> %counted, %all_least
  %is_here = icmp eq <$rows x i8> %code, %all_from
  %goes = and <$rows x i1> %is_right, %is_here
  %next_code = select <$rows x i1> %goes, <$rows x i8> %all_to, <$rows x i8> %code
  %next_s = add i32 %s, 1
  %more_splits = icmp ult i32 %next_s, %end
  br i1 %more_splits, label %split, label %tree_leaves

tree_leaves:
  %reached = phi <$rows x i8> [ zeroinitializer, %tree ], [ %next_code, %split ]
  store <$rows x i8> %reached, ptr %codes, align 64
  %own_leaves = getelementptr $number, ptr %leaves, i32 %first_leaf
  %group_start = mul i64 %group, %stride
  %sum_start = add i64 %group_start, %first
  %sums = getelementptr $number, ptr %margins, i64 %sum_start
  br label %leaf

leaf:
  %l = phi i64 [ 0, %tree_leaves ], [ %next_l, %leaf ]
  %codes_at = getelementptr i8, ptr %codes, i64 %l
  %places = load <16 x i8>, ptr %codes_at, align 16
  %wide = zext <16 x i8> %places to <16 x i32>
  %leaves_at = getelementptr $number, ptr %own_leaves, <16 x i32> %wide
  %added = call <16 x $number> @llvm.masked.gather(<16 x ptr> %leaves_at, i32 4, <16 x i1> splat (i1 true), <16 x $number> poison)
  %sum_at = getelementptr $number, ptr %sums, i64 %l
  %sum = load <16 x $number>, ptr %sum_at, align 4
  %next_sum = fadd <16 x $number> %sum, %added
  store <16 x $number> %next_sum, ptr %sum_at, align 4
  %next_l = add i64 %l, 16
  %more_leaves = icmp ult i64 %next_l, $rows
  br i1 %more_leaves, label %leaf, label %tree_end

tree_end:
  %next_t = add i64 %t, 1
  %more_trees = icmp ult i64 %next_t, %n_trees
  br i1 %more_trees, label %tree, label %tile_end

tile_end:
  %next_first = add i64 %first, $rows
  %more_tiles = icmp ult i64 %next_first, %n_rows
  br i1 %more_tiles, label %tile, label %done

done:
  ret void
}

; numbers, each raised in place by the C library's own function
define void @powers_$rows(ptr noalias %numbers, i64 %n) {
entry:
  br label %each

each:
  %i = phi i64 [ 0, %entry ], [ %next_i, %each ]
  %at = getelementptr $number, ptr %numbers, i64 %i
  %number = load $number, ptr %at
  %power = call $number @$exp($number %number)
  store $number %power, ptr %at
  %next_i = add i64 %i, 1
  %more = icmp ult i64 %next_i, %n
  br i1 %more, label %each, label %done

done:
  ret void
}
